;; Reads the same file, for ever.
(module
  (import "openclaw" "file_read" (func $read (param i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "procbig")
  (func (export "execute")
    (loop $again
      (drop (call $read (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 3) (i32.const -1)))
      (br $again))))
