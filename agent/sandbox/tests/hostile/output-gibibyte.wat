;; Writes a gibibyte of output, a mebibyte at a time.
(module
  (import "openclaw" "output_write" (func $write (param i32 i32)))
  (memory (export "memory") 16)
  (func (export "execute") (local $n i32)
    (loop $again
      (call $write (i32.const 0) (i32.const 1048576))
      (br_if $again (i32.lt_u
        (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1024))))))
