function f () { throw new TypeError('boom') }
f()
