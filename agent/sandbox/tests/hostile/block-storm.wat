;; Makes and frees blocks on the host's side, for ever.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (func (export "execute")
    (loop $again (call $free (call $alloc (i64.const 1048576))) (br $again))))
