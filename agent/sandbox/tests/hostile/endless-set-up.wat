;; Never gets to its action.
(module
  (func (export "_initialize") (loop $again (br $again)))
  (func (export "execute")))
