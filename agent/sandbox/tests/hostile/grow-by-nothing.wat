;; Grows by no page, for ever: always succeeds, and still costs the engine native stack.
(module
  (memory (export "memory") 1)
  (func (export "execute")
    (loop $again (drop (memory.grow (i32.const 0))) (br $again))))
