;; Sends requests to where it may not, for ever.
(module
  (import "openclaw" "http_request" (func $http (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"url\":\"http://169.254.169.254/latest/meta-data/\"}")
  (func (export "execute")
    (loop $again
      (drop (call $http (i32.const 0) (i32.const 50) (i32.const 0) (i32.const 0)))
      (br $again))))
