;; Asks for another copy of its input, for ever.
(module
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (func (export "execute") (loop $again (drop (call $input)) (br $again))))
