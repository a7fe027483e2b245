;; Reports a failure that is JSON, a hundred thousand levels deep.
(module
  (import "openclaw" "error_write" (func $report (param i32 i32)))
  (memory (export "memory") 2)
  (func (export "execute") (result i32)
    (memory.fill (i32.const 0) (i32.const 91) (i32.const 100000))
    (call $report (i32.const 0) (i32.const 100000))
    (i32.const 1)))
