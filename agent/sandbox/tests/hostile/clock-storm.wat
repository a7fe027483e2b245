;; Asks for the time, for ever: every question goes all the way to the host.
(module
  (import "openclaw" "now_ms" (func $now (result i64)))
  (func (export "execute") (loop $again (drop (call $now)) (br $again))))
