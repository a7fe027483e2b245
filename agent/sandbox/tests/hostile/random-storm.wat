;; Asks for as many random bytes as there are at once, in both ways, for ever.
(module
  (import "openclaw" "random" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "execute")
    (loop $again
      (drop (call $random (i32.const 0) (i32.const 65536)))
      (drop (call $get (i32.const 0) (i32.const 131072)))
      (br $again))))
