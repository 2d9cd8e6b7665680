// not in bare: its packages are not where it looks for them
const vm = require('vm')
const Realm = require('bare-realm')

const context = vm.createContext()
console.log(vm.runInContext('x = 40; x += 2', context), context.x, typeof x)
context.y = { z: 1 }
console.log(vm.runInContext('y.z + x', context), vm.runInNewContext('typeof Bare + typeof console + typeof Array'))
const array = vm.runInContext('[1, 2]', context)
console.log(array instanceof Array, Array.isArray(array), array)
try {
  vm.runInContext('\nthrow new Error("inside")', context, { filename: 'inner.js', lineOffset: 10 })
} catch (err) {
  console.log(err.message, err instanceof Error, String(err.stack).includes('inner.js:12'))
}
try {
  vm.runInContext('1', {})
} catch (err) {
  console.log(err.name)
}
const make = new Realm().evaluate('let count = 0; () => ++count')
make()
console.log(make())
for (let i = 0; i < 200; i++) new Realm().evaluate('this.big = new Uint8Array(10000)')
console.log('done')
