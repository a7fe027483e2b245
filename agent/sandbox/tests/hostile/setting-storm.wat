;; Asks for settings and variables through blocks, and logs them, for ever. As its own host does, the
;; sandbox takes each block back that it is handed, so this holds no more memory than one round.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "config_get" (func $config (param i64) (result i64)))
  (import "extism:host/env" "var_get" (func $var (param i64) (result i64)))
  (import "extism:host/env" "var_set" (func $set (param i64 i64)))
  (import "extism:host/env" "log_info" (func $info (param i64)))
  (import "extism:host/env" "log_trace" (func $trace (param i64)))
  (func (export "execute")
    (loop $again
      (drop (call $config (call $alloc (i64.const 4000))))
      (drop (call $var (call $alloc (i64.const 4000))))
      (call $set (call $alloc (i64.const 9)) (call $alloc (i64.const 4000)))
      (call $info (call $alloc (i64.const 4000)))
      (call $trace (call $alloc (i64.const 4000)))
      (br $again))))
