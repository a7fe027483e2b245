;; Copies passive segments into memory and table, over and over.
(module
  (memory (export "memory") 1)
  (table 64 funcref)
  (data $bytes "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
  (elem $functions func $f $f $f $f $f $f $f $f $f $f $f $f $f $f $f $f)
  (func $f)
  (func (export "execute") (local $at i32)
    (loop $again
      (memory.init $bytes (local.get $at) (i32.const 0) (i32.const 64))
      (table.init $functions (i32.const 48) (i32.const 0) (i32.const 16))
      (local.set $at (i32.and (i32.add (local.get $at) (i32.const 64)) (i32.const 65535)))
      (br $again))))
