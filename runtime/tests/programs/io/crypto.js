// not in bare: its packages are not where it looks for them
const crypto = require('bare-crypto')

for (const name of Object.keys(crypto.constants.hash)) console.log(name, crypto.createHash(name).update('abc').digest('hex'))
console.log(crypto.createHash('sha-256').update('a').update(Buffer.from('bc')).digest('base64'))
console.log(crypto.createHmac('sha512', 'key').update('data').digest('hex').slice(0, 32))
console.log(crypto.pbkdf2('password', 'salt', 1000, 20, 'sha256').toString('hex'))
console.log(crypto.pbkdf2Sync('p', 's', 1, 8, 'sha1').toString('hex'))

const key = Buffer.alloc(32, 1)
const text = 'some text that is longer than a block'
for (const name of ['AES128ECB', 'AES128CBC', 'AES128CTR', 'AES128OFB', 'AES256ECB', 'AES256CBC', 'AES256CTR', 'AES256OFB']) {
  const short = name.startsWith('AES128') ? key.subarray(0, 16) : key
  const iv = name.endsWith('ECB') ? Buffer.alloc(0) : Buffer.alloc(16, 2)
  const cipher = crypto.createCipheriv(name, short, iv)
  const sealed = Buffer.concat([cipher.update(text.slice(0, 5)), cipher.update(text.slice(5)), cipher.final()])
  const decipher = crypto.createDecipheriv(name, short, iv)
  const opened = Buffer.concat([decipher.update(sealed.subarray(0, 20)), decipher.update(sealed.subarray(20)), decipher.final()])
  console.log(name, sealed.toString('hex'), opened.toString() === text)
}

for (const [name, nonce] of [['AES128GCM', 12], ['AES256GCM', 12], ['CHACHA20POLY1305', 12], ['XCHACHA20POLY1305', 24]]) {
  const short = name.startsWith('AES128') ? key.subarray(0, 16) : key
  const cipher = crypto.createCipheriv(name, short, Buffer.alloc(nonce, 3))
  cipher.setAAD(Buffer.from('more'))
  cipher.update(text)
  const sealed = cipher.final()
  const tag = cipher.getAuthTag()
  const decipher = crypto.createDecipheriv(name, short, Buffer.alloc(nonce, 3))
  decipher.setAAD(Buffer.from('more'))
  decipher.setAuthTag(tag)
  decipher.update(sealed)
  console.log(name, sealed.toString('hex').slice(0, 16), tag.toString('hex'), decipher.final('utf8') === text)
  const forged = crypto.createDecipheriv(name, short, Buffer.alloc(nonce, 3))
  forged.setAuthTag(tag)
  forged.update(sealed)
  try {
    forged.final()
  } catch {
    console.log('refused')
  }
}

const { publicKey, privateKey } = crypto.generateKeyPair('ed25519')
const signature = crypto.sign(null, Buffer.from(text), privateKey)
console.log(publicKey.type, privateKey.type, signature.byteLength, publicKey.export().byteLength)
console.log(crypto.verify(null, Buffer.from(text), publicKey, signature), crypto.verify(null, Buffer.from('x'), publicKey, signature))

const bytes = crypto.randomBytes(64)
console.log(bytes.byteLength, bytes.some((byte) => byte !== bytes[0]), crypto.randomFill(Buffer.alloc(4), 4).toString('hex'))
console.log(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()))
console.log(crypto.timingSafeEqual(Buffer.from('a'), Buffer.from('a')), crypto.timingSafeEqual(Buffer.from('a'), Buffer.from('b')))

for (const attempt of [
  () => crypto.createHash('nope'),
  () => crypto.createCipheriv('nope', key, key),
  () => crypto.createCipheriv('AES256CBC', Buffer.alloc(3), Buffer.alloc(16)),
  () => crypto.randomFill(Buffer.alloc(4), 5),
  () => crypto.generateKeyPair('rsa')
]) {
  try {
    attempt()
  } catch (err) {
    console.log(err.name, err.code, err.message)
  }
}

async function web() {
  const { subtle } = crypto.webcrypto
  console.log(Buffer.from(await subtle.digest('SHA-256', Buffer.from('abc'))).toString('hex'))
  const hmac = await subtle.importKey('raw', Buffer.from('key'), { name: 'HMAC', hash: 'SHA-256' }, true, ['sign', 'verify'])
  const mac = await subtle.sign('HMAC', hmac, Buffer.from('data'))
  console.log(Buffer.from(mac).toString('hex').slice(0, 16), await subtle.verify('HMAC', hmac, mac, Buffer.from('data')))
  const pair = await subtle.generateKey('Ed25519', true, ['sign', 'verify'])
  const signed = await subtle.sign('Ed25519', pair.privateKey, Buffer.from('data'))
  console.log(await subtle.verify('Ed25519', pair.publicKey, signed, Buffer.from('data')))
  const password = await subtle.importKey('raw', Buffer.from('password'), 'PBKDF2', false, ['deriveBits'])
  const bits = await subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: Buffer.from('salt'), iterations: 1000 }, password, 160)
  console.log(Buffer.from(bits).toString('hex'))
  await subtle.exportKey('raw', password).catch((err) => console.log(err.code))
}

web()
