// not in bare
// What no machine has room for is an error, and the program goes on.
const crypto = require('hypercore-crypto')

for (const make of [
  () => Buffer.alloc(2 ** 52),
  () => Buffer.allocUnsafe(2 ** 53 - 1),
  () => Buffer.alloc(2 ** 53),
  () => new Buffer(2 ** 52),
  () => Buffer.concat([Buffer.from('a')], 2 ** 52),
  () => crypto.randomBytes(2 ** 52),
  () => crypto.randomBytes(1.5),
  () => Buffer.from({ length: 2 ** 52 })
]) {
  try {
    make()
    console.log('made')
  } catch (err) {
    console.log(err instanceof RangeError || err instanceof TypeError || err.name === 'InternalError')
  }
}

// A buffer that was given away has no bytes, and says so.
const gone = Buffer.alloc(8)
structuredClone(gone.buffer, { transfer: [gone.buffer] })
for (const use of [
  () => gone.toString(),
  () => gone.write('x'),
  () => gone.fill(1),
  () => gone.readInt32LE(),
  () => gone.subarray(1),
  () => gone.copy(Buffer.alloc(2)),
  () => Buffer.from('x').copy(gone),
  () => gone.equals(Buffer.alloc(8)),
  () => Buffer.concat([gone]),
  () => crypto.hash(gone)
]) {
  try {
    console.log('used', String(use()).length)
  } catch (err) {
    console.log(err.name)
  }
}

for (const method of Object.getOwnPropertyNames(Buffer.prototype)) {
  if (method === 'constructor') continue
  for (const self of [undefined, null, 5, {}, [], new Uint16Array(2), new ArrayBuffer(2), gone]) {
    for (const args of [[], [undefined, -1, 1e308], ['x', NaN, 'y'], [{}, {}, {}], [Symbol('s')], [1, 1, 7]]) {
      try {
        const value = Buffer.prototype[method]
        if (typeof value === 'function') value.apply(self, args)
      } catch {}
    }
  }
}
console.log('still here')
