;; Little fuel, much work: fills its memory over and over.
(module
  (memory (export "memory") 64)
  (func (export "execute")
    (loop $again
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 4194304))
      (memory.copy (i32.const 0) (i32.const 1) (i32.const 4194303))
      (br $again))))
