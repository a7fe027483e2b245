;; One `fd_write` with as many buffers as are taken, each all of memory.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "execute") (local $at i32)
    (loop $next
      (i32.store offset=4 (local.get $at) (i32.const 4194304))
      (br_if $next (i32.lt_u
        (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 8192))))
    (loop $again
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 9000)))
      (br $again))))
