// not in bare
const c = require('compact-encoding')

const hex = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
const show = (value) => JSON.stringify(value, (key, v) => (typeof v === 'bigint' ? v + 'n' : v))

function both(name, codec, value) {
  const bytes = c.encode(codec, value)
  console.log(name, hex(bytes), show(c.decode(codec, bytes)))
  for (let length = 0; length < bytes.byteLength; length++) {
    try {
      c.decode(codec, bytes.subarray(0, length))
      console.log(' short', length)
    } catch {}
  }
}

const numbers = [0, 1, 252, 253, 0xffff, 0x10000, 0xffffffff, 2 ** 33, Number.MAX_SAFE_INTEGER]
for (const n of numbers) for (const name of ['uint', 'uint64', 'uint64be', 'lexint']) both(name, c[name], n)
for (const n of [0, 1, -1, 63, -64, 2 ** 40, -(2 ** 40)]) both('int', c.int, n)
for (const name of ['uint8', 'uint16', 'uint24', 'uint32', 'uint32be', 'uint40', 'uint48', 'uint56', 'int8', 'int16', 'int24', 'int32', 'int40', 'int48', 'int56', 'int64']) both(name, c[name], 100)
for (const n of [0n, 5n, 2n ** 64n - 1n]) both('biguint64', c.biguint64, n)
for (const n of [0n, -5n, 2n ** 62n]) both('bigint64', c.bigint64, n)
for (const n of [0n, 2n ** 100n]) both('biguint', c.biguint, n)
both('bigint', c.bigint, -(2n ** 70n))
for (const n of [0, 1.5, -1e300]) {
  both('float32', c.float32, n)
  both('float64', c.float64, n)
}
for (const s of ['', 'héllo', 'x'.repeat(300)]) {
  both('string', c.string, s)
  both('raw', c.raw.string, s)
}
both('utf16le', c.utf16le, 'aé')
both('ascii', c.ascii, 'abc')
both('hex', c.hex, 'abcd')
both('base64', c.base64, 'YWJj')
both('fixed', c.utf8.fixed(3), 'abc')
both('buffer', c.buffer, Buffer.from('abc'))
both('binary', c.binary, 'abc')
both('optional', c.optionalBuffer, null)
both('fixed32', c.fixed32, Buffer.alloc(32, 7))
both('uint32array', c.uint32array, new Uint32Array([1, 2 ** 31]))
both('float64array', c.float64array, new Float64Array([1.5]))
both('bool', c.bool, true)
both('bitarray', c.bitarray, [true, false, true, true, false, false, false, false, true])
both('array', c.array(c.string), ['a', 'bc'])
both('raw array', c.raw.array(c.uint8), [1, 2])
both('frame', c.frame(c.array(c.uint)), [1, 1000])
both('date', c.date, new Date(1e12))
both('json', c.json, { a: [1, null] })
both('ndjson', c.ndjson, 5)
both('any', c.any, { n: null, b: false, s: 'x', u: 5, i: -5, f: 0.5, a: [1, 'y'], o: { p: 1 }, d: new Date(0) })
both('record', c.stringRecord, { k: 'v' })
both('ipv4', c.ipv4Address, { host: '127.0.0.1', port: 80 })
for (const host of ['::1', '1:2:3:4:5:6:7:8', 'fe80::1:0', '10.0.0.1']) both('ip', c.ipAddress, { host, port: 65535 })
both('from', c.from('utf-8'), 'abc')
both('from', c.from({ encode: (s) => Buffer.from(s), decode: (b) => b.toString() }), 'abc')

for (const [codec, value] of [[c.uint, -1], [c.uint, 2 ** 60], [c.uint8, NaN], [c.int, 2 ** 53], [c.fixed32, Buffer.alloc(3)], [c.any, () => {}]]) {
  try {
    c.encode(codec, value)
    console.log('no error')
  } catch (err) {
    console.log(err.message.split(' for ')[0])
  }
}
try {
  c.decode(c.array(c.uint), c.encode(c.uint, 0x200000))
} catch (err) {
  console.log(err.message)
}
console.log(c.state(), Object.keys(c).sort().join(), Object.keys(c.raw).sort().join())
