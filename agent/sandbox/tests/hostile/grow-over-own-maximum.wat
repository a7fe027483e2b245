;; As grow-fails, refused by the module's own maximum before our limiter is asked.
(module
  (memory (export "memory") 1 1)
  (func (export "execute")
    (loop $again (drop (memory.grow (i32.const 1))) (br $again))))
