;; Grows memory at every level of a deep recursion, over and over.
(module
  (memory (export "memory") 1 1)
  (func $down (param i32)
    (drop (memory.grow (i32.const 1)))
    (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "execute")
    (loop $again (call $down (i32.const 900)) (br $again))))
