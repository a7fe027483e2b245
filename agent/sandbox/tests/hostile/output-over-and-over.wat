;; Sets an output that fits, for ever.
(module
  (import "openclaw" "output_write" (func $write (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "execute")
    (loop $again (call $write (i32.const 0) (i32.const 65536)) (br $again))))
