;; Takes all the memory there is and writes to every page of it, for ever.
(module
  (memory (export "memory") 1)
  (func (export "execute")
    (loop $again
      (drop (memory.grow (i32.const 1)))
      (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536)))
      (br $again))))
