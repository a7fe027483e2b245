;; Calls itself without end.
(module
  (func $down (export "execute") (call $down)))
