// not in bare
const z32 = require('z32')
const ids = require('hypercore-id-encoding')
const crypto = require('hypercore-crypto')

const show = (bytes) => console.log(bytes.toString('hex'))
const t = (fn) => {
  try {
    console.log(fn())
  } catch (err) {
    console.log(err.message)
  }
}

for (let length = 0; length < 12; length++) {
  const bytes = Buffer.alloc(length).map((_, i) => i * 37 + length)
  const text = z32.encode(bytes)
  console.log(text, z32.decode(text).equals(bytes))
}
t(() => z32.encode('text'))
t(() => z32.decode('yb2d'))
t(() => z32.decode('ybñ'))
for (const odd of ['y', 'ybn', 'ybndrf']) t(() => z32.decode(odd).toString('hex'))
t(() => z32.decode('ybndrfg8', Buffer.alloc(8)).byteLength)
console.log(z32.ALPHABET)

const key = Buffer.alloc(32, 5)
console.log(ids.encode(key), ids.decode(ids.encode(key)).equals(key), ids.decode(key.toString('hex')).equals(key), ids.decode(`pear://${ids.encode(key)}/x`).equals(key))
console.log(ids.normalize(key.toString('hex')), ids.isValid('x'), ids.isValid(key))
t(() => ids.encode('x'))
t(() => ids.encode(Buffer.alloc(3)))
t(() => ids.decode(Buffer.alloc(3)))
t(() => ids.decode('nope'))

const pair = crypto.keyPair(Buffer.alloc(32, 1))
show(pair.publicKey)
show(pair.secretKey)
const message = Buffer.from('message')
const signature = crypto.sign(message, pair.secretKey)
show(signature)
console.log(crypto.verify(message, signature, pair.publicKey), crypto.verify(Buffer.from('other'), signature, pair.publicKey), crypto.verify(message, Buffer.alloc(3), pair.publicKey), crypto.verify(message, signature, Buffer.alloc(5)))
console.log(crypto.validateKeyPair(pair), crypto.validateKeyPair({ publicKey: Buffer.alloc(32), secretKey: pair.secretKey }), crypto.validateKeyPair(crypto.keyPair()))

const box = crypto.encryptionKeyPair(Buffer.alloc(32, 2))
show(box.publicKey)
show(box.secretKey)
const sealed = crypto.encrypt(message, box.publicKey)
console.log(sealed.byteLength, crypto.decrypt(sealed, box).toString(), crypto.decrypt(Buffer.alloc(60), box), crypto.decrypt(Buffer.alloc(3), box))

const leaf = crypto.data(message)
show(leaf)
const a = { index: 0, size: 7, hash: leaf }
const b = { index: 2, size: 5, hash: crypto.data(Buffer.from('hello')) }
show(crypto.parent(a, b))
show(crypto.parent(b, a))
show(crypto.tree([{ index: 1, size: 12, hash: crypto.parent(a, b) }, { index: 4, size: 3, hash: leaf }]))
show(crypto.hash(message))
show(crypto.hash([Buffer.from('mess'), Buffer.from('age')]))
const out = Buffer.alloc(32)
console.log(crypto.hash(message, out) === out, out.equals(crypto.hash(message)))
for (const size of [16, 24, 64]) show(crypto.hash([message], Buffer.alloc(size)))
show(crypto.discoveryKey(pair.publicKey))
t(() => crypto.discoveryKey(Buffer.alloc(3)))
console.log(crypto.randomBytes(16).byteLength, crypto.randomBytes(16).equals(crypto.randomBytes(16)))
for (const ns of crypto.namespace('hyperswarm', 2)) show(ns)
for (const ns of crypto.namespace('x', [5, 6])) show(ns)
console.log(Object.keys(crypto).sort().join())
