;; Its output is JSON, thirty thousand levels deep. The call goes well; its step must not, since nobody
;; could read such a value.
(module
  (import "openclaw" "output_write" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "execute")
    (memory.fill (i32.const 0) (i32.const 91) (i32.const 30000))
    (memory.fill (i32.const 30000) (i32.const 93) (i32.const 30000))
    (call $output (i32.const 0) (i32.const 60000))))
