;; Publishes messages of all sizes, for ever.
(module
  (import "openclaw" "mqtt_publish" (func $publish (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "plant/a/state")
  (func (export "execute") (local $n i32)
    (loop $again
      (drop (call $publish
        (i32.const 0) (i32.const 13) (i32.const 0) (local.get $n) (i32.const 3)))
      (local.set $n (i32.and (i32.add (local.get $n) (i32.const 97)) (i32.const 65535)))
      (br $again))))
