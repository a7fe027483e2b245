;; Calls itself through a table without end.
(module
  (type $t (func))
  (table 1 funcref)
  (elem (i32.const 0) $down)
  (func $down (export "execute") (call_indirect (type $t) (i32.const 0))))
