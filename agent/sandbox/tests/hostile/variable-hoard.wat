;; Keeps a new variable for every number there is.
(module
  (import "openclaw" "var_set" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "execute")
    (loop $again
      (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
      (i32.store8 (i32.const 0) (i32.and (i32.load8_u (i32.const 0)) (i32.const 127)))
      (i32.store8 (i32.const 1) (i32.and
        (i32.add (i32.load8_u (i32.const 1)) (i32.eqz (i32.load8_u (i32.const 0)))) (i32.const 127)))
      (drop (call $set (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 300)))
      (br $again))))
