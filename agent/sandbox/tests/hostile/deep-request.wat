;; Sends requests whose heads are JSON, a hundred thousand levels deep, for ever.
(module
  (import "openclaw" "http_request" (func $http (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 2)
  (func (export "execute")
    (memory.fill (i32.const 0) (i32.const 91) (i32.const 100000))
    (loop $again
      (drop (call $http (i32.const 0) (i32.const 100000) (i32.const 0) (i32.const 0)))
      (br $again))))
