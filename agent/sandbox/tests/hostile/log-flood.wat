;; Logs all of its memory as one line, for ever.
(module
  (import "openclaw" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 64)
  (func (export "execute")
    (loop $again (call $log (i32.const 4) (i32.const 0) (i32.const 4194304)) (br $again))))
