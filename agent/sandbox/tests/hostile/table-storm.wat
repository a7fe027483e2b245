;; The same with the largest table.
(module
  (table 65536 funcref)
  (func (export "execute")
    (loop $again
      (table.fill 0 (i32.const 0) (ref.null func) (i32.const 65536))
      (table.copy (i32.const 0) (i32.const 1) (i32.const 65535))
      (br $again))))
