;; Remembers another value under another key, for ever, and reads the list of all keys each time.
(module
  (import "openclaw" "kv_set" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "openclaw" "kv_keys" (func $keys (param i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "key0000")
  (func (export "execute") (local $n i32)
    (loop $again
      (i32.store8 (i32.const 4) (i32.add (i32.const 33) (i32.and (local.get $n) (i32.const 63))))
      (i32.store8 (i32.const 5) (i32.add (i32.const 33)
        (i32.and (i32.shr_u (local.get $n) (i32.const 6)) (i32.const 63))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (drop (call $set (i32.const 1) (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 600)))
      (drop (call $keys (i32.const 1) (i32.const 0) (i32.const 0)))
      (br $again))))
