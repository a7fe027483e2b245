;; Asks for more memory than it may have, for ever. In one big slice of fuel this overflows the
;; engine's native stack.
(module
  (memory (export "memory") 1)
  (func (export "execute")
    (loop $again (drop (memory.grow (i32.const 30000))) (br $again))))
