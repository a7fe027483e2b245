;; Calls the host functions that copy nothing, for ever: each takes more time than fuel.
(module
  (import "openclaw" "input_length" (func $length (result i32)))
  (import "openclaw" "result_length" (func $result (result i32)))
  (import "extism:host/env" "input_length" (func $length64 (result i64)))
  (import "extism:host/env" "http_status_code" (func $status (result i32)))
  (import "extism:host/env" "http_headers" (func $headers (result i64)))
  (import "extism:host/env" "get_log_level" (func $level (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (func (export "execute")
    (loop $again
      (drop (call $length)) (drop (call $result)) (drop (call $length64)) (drop (call $status))
      (drop (call $headers)) (drop (call $level)) (drop (call $yield))
      (br $again))))
