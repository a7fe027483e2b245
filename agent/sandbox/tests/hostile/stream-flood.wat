;; Opens streams, reads and writes all that is taken at once, closes every other one, for ever.
(module
  (import "openclaw" "tcp_connect" (func $connect (param i32 i32 i32 i32) (result i32)))
  (import "openclaw" "stream_read" (func $read (param i32 i32 i32 i32) (result i64)))
  (import "openclaw" "stream_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "openclaw" "stream_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "plc.example")
  (func (export "execute") (local $stream i32)
    (loop $again
      (local.set $stream (call $connect
        (i32.const 0) (i32.const 11) (i32.const 502) (i32.const -1)))
      (drop (call $read (local.get $stream) (i32.const 0) (i32.const -1) (i32.const -1)))
      (drop (call $write (local.get $stream) (i32.const 0) (i32.const 65536) (i32.const -1)))
      (if (i32.and (local.get $stream) (i32.const 1))
        (then (drop (call $close (local.get $stream)))))
      (br $again))))
