function f () { throw new TypeError('boom') }
setTimeout(() => console.log('never'), 1)
f()
