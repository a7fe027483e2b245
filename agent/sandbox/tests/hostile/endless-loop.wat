;; Never ends by itself.
(module
  (func (export "execute") (loop $again (br $again))))
