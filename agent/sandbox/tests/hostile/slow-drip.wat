;; A little of everything, a byte at a time, for ever: a block, a byte into it, a byte of output, a
;; byte of log, a byte of standard output.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (import "extism:host/env" "input_load_u8" (func $input (param i64) (result i32)))
  (import "openclaw" "log" (func $log (param i32 i32 i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (func (export "execute") (local $block i64)
    (loop $again
      (local.set $block (call $alloc (i64.const 1)))
      (call $store (local.get $block) (call $input (i64.const 0)))
      (call $output (local.get $block) (i64.const 1))
      (call $free (local.get $block))
      (call $log (i32.const 2) (i32.const 0) (i32.const 1))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $again))))
