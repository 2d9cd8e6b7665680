// not in bare
const b4a = require('b4a')

const plain = new Uint8Array([104, 105, 33])
console.log(b4a.toString(plain), b4a.toString(plain, 'hex', 1), b4a.toHex(plain), b4a.isBuffer(plain), b4a.isBuffer('x'))
console.log(b4a.toString(b4a.from('hi')), b4a.byteLength('é'), b4a.equals(plain, b4a.from('hi!')), b4a.compare(plain, b4a.from('hj')))
console.log(b4a.toString(b4a.concat([plain, b4a.from('?')])), b4a.indexOf(plain, 'i'), b4a.lastIndexOf(plain, 33), b4a.includes(plain, 'hi'))
const out = b4a.alloc(6)
console.log(b4a.copy(plain, out, 2), b4a.write(out, 'zz', 0), b4a.toString(out, 'hex'), b4a.write(new Uint8Array(2), 'abc'))
console.log(b4a.fill(new Uint8Array(3), 'ab').join(), b4a.swap16(new Uint8Array([1, 2])).join(), b4a.toBuffer(plain) instanceof Buffer, b4a.toBuffer(plain).buffer === plain.buffer)
console.log(b4a.writeInt32LE(out, -5, 1), b4a.readInt32LE(out, 1), b4a.readUInt32BE(out, 1), b4a.writeDoubleBE(b4a.alloc(8), 1.5, 0))
console.log(b4a.isEncoding('hex'), b4a.alloc(2, 1).join(), b4a.allocUnsafe(3).byteLength, b4a.from('ff00', 'hex').join())
console.log(Object.keys(b4a).sort().join())
