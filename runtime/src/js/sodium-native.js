// sodium-native 5.1: libsodium's functions, whose native half is Rust.

const core = require('pome-core')

const {
  hasherGeneric, hasherSha256, hasherSha512, hasherOnetime, hasherUpdate, hasherFinal, passwordLater, streamXor, aeadEncrypt, aeadDecrypt, zeros,
  scryptNow, scryptLater, scryptLimits,
  ...functions
} = native

module.exports = exports = functions

// Memory that is not swapped or looked at is the kernel's to give; here it is memory like any other.
exports.sodium_malloc = zeros
exports.sodium_free = exports.sodium_memzero
exports.sodium_mlock = noop
exports.sodium_munlock = exports.sodium_memzero
exports.sodium_mprotect_noaccess = noop
exports.sodium_mprotect_readonly = noop
exports.sodium_mprotect_readwrite = noop

function noop () {}

for (const name of [
  'generichash', 'secretstream_xchacha20poly1305', 'kdf', 'aead_xchacha20poly1305_ietf', 'aead_chacha20poly1305_ietf', 'auth', 'secretbox', 'onetimeauth', 'stream',
  'shorthash'
]) {
  exports[`crypto_${name}_keygen`] = native.randombytes_buf
}

// A state is a buffer of the caller's; what it stands for is found by it.
const running = new WeakMap()

function begin (state, id) {
  running.set(state, core.own(state, id))
}

function hasher (state) {
  const id = running.get(state)
  if (id === undefined) throw new Error('state must be initialised')
  return id
}

function update (state, input) {
  hasherUpdate(hasher(state), input)
}

function final (state, output) {
  hasherFinal(hasher(state), output)
  running.delete(state)
}

exports.crypto_generichash_init = function (state, key, outputLength) {
  begin(state, hasherGeneric(outputLength, key))
}

exports.crypto_hash_sha256_init = (state) => begin(state, hasherSha256())
exports.crypto_hash_sha512_init = (state) => begin(state, hasherSha512())
exports.crypto_onetimeauth_init = (state, key) => begin(state, hasherOnetime(key))

for (const name of ['generichash', 'hash_sha256', 'hash_sha512', 'onetimeauth']) {
  exports[`crypto_${name}_update`] = update
  exports[`crypto_${name}_final`] = final
}

// Key streams: whole, over a message, and from a block on.
for (const [name, kind] of [['', 'xsalsa20'], ['_chacha20', 'chacha20'], ['_chacha20_ietf', 'chacha20_ietf'], ['_xchacha20', 'xchacha20'], ['_salsa20', 'salsa20']]) {
  exports[`crypto_stream${name}`] = (c, n, k) => streamXor(kind, c, zeros(c.byteLength), n, k, 0)
  exports[`crypto_stream${name}_xor`] = (c, m, n, k) => streamXor(kind, c, m, n, k, 0)
  if (name !== '') exports[`crypto_stream${name}_xor_ic`] = (c, m, n, block, k) => streamXor(kind, c, m, n, k, Number(block) * 64)
  exports[`crypto_stream${name}_xor_STATEBYTES`] = 64
  exports[`crypto_stream${name}_xor_wrap_init`] = (state, n, k) => {
    running.set(state, { n: Buffer.from(n), k: Buffer.from(k), at: 0 })
  }
  exports[`crypto_stream${name}_xor_wrap_update`] = (state, c, m) => {
    const position = running.get(state)
    if (position === undefined) throw new Error('state must be initialised')
    streamXor(kind, c, m, position.n, position.k, position.at)
    position.at += m.byteLength
  }
  exports[`crypto_stream${name}_xor_wrap_final`] = (state) => {
    running.delete(state)
  }
}

const MAC = 16

function fill (target, source, name) {
  if (target.byteLength !== source.byteLength) throw new Error(`${name} must be ${source.byteLength} bytes`)
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source)
}

for (const name of ['xchacha20poly1305', 'chacha20poly1305']) {
  exports[`crypto_aead_${name}_ietf_encrypt`] = function (c, m, ad, nsec, npub, k) {
    fill(c, aeadEncrypt(m, ad, npub, k), 'c')
    return c.byteLength
  }

  exports[`crypto_aead_${name}_ietf_decrypt`] = function (m, nsec, c, ad, npub, k) {
    fill(m, aeadDecrypt(c, ad, npub, k), 'm')
    return m.byteLength
  }

  exports[`crypto_aead_${name}_ietf_encrypt_detached`] = function (c, mac, m, ad, nsec, npub, k) {
    const sealed = aeadEncrypt(m, ad, npub, k)
    const end = sealed.byteLength - MAC
    fill(c, sealed.subarray(0, end), 'c')
    fill(mac, sealed.subarray(end), 'mac')
    return MAC
  }

  exports[`crypto_aead_${name}_ietf_decrypt_detached`] = function (m, nsec, c, mac, ad, npub, k) {
    fill(m, aeadDecrypt(Buffer.concat([c, mac]), ad, npub, k), 'm')
  }
}

// Keys of passwords, without standing still meanwhile.
async function later (output, ...rest) {
  fill(output, await passwordLater(output.byteLength, ...rest), 'out')
}

function answer (promise, callback) {
  if (typeof callback !== 'function') return promise
  promise.then((value) => callback(null, value), callback)
}

exports.crypto_pwhash_async = function (out, passwd, salt, opslimit, memlimit, alg, callback) {
  return answer(later(out, passwd, salt, opslimit, memlimit, alg), callback)
}

exports.extension_pbkdf2_sha512_async = function (out, passwd, salt, iter, outlen, callback) {
  return answer(Promise.resolve().then(() => native.extension_pbkdf2_sha512(out, passwd, salt, iter, outlen)), callback)
}

// `$argon2id$v=19$m=…,t=…,p=1$salt$key`, and zeros to its end.
const TEXT = native.crypto_pwhash_STRBYTES

function parameters (str) {
  const text = Buffer.from(str.buffer, str.byteOffset, str.byteLength).toString()
  const found = /^\$argon2(id|i)\$v=19\$m=(\d+),t=(\d+),p=1\$([^$]+)\$([^$\0]+)\0*$/.exec(text)
  if (found === null) return null
  return {
    algorithm: found[1] === 'id' ? 2 : 1,
    memlimit: Number(found[2]) * 1024,
    opslimit: Number(found[3]),
    salt: Buffer.from(found[4], 'base64'),
    key: Buffer.from(found[5], 'base64')
  }
}

function unpadded (buffer) {
  return buffer.toString('base64').replace(/=+$/, '')
}

function write (out, salt, key, opslimit, memlimit) {
  if (out.byteLength !== TEXT) throw new Error("out must be 'crypto_pwhash_STRBYTES' bytes")
  const text = `$argon2id$v=19$m=${Math.floor(memlimit / 1024)},t=${opslimit},p=1$${unpadded(salt)}$${unpadded(key)}`
  const bytes = new Uint8Array(out.buffer, out.byteOffset, out.byteLength)
  bytes.fill(0)
  bytes.set(Buffer.from(text))
}

function fresh () {
  const salt = zeros(native.crypto_pwhash_SALTBYTES)
  native.randombytes_buf(salt)
  return salt
}

exports.crypto_pwhash_str = function (out, passwd, opslimit, memlimit) {
  const salt = fresh()
  const key = zeros(32)
  native.crypto_pwhash(key, passwd, salt, opslimit, memlimit, 2)
  write(out, salt, key, opslimit, memlimit)
}

exports.crypto_pwhash_str_async = function (out, passwd, opslimit, memlimit, callback) {
  const salt = fresh()
  return answer(passwordLater(32, passwd, salt, opslimit, memlimit, 2).then((key) => write(out, salt, key, opslimit, memlimit)), callback)
}

exports.crypto_pwhash_str_verify = function (str, passwd) {
  const known = parameters(str)
  if (known === null) return false
  const key = zeros(known.key.byteLength)
  native.crypto_pwhash(key, passwd, known.salt, known.opslimit, known.memlimit, known.algorithm)
  return native.sodium_memcmp(key, known.key)
}

exports.crypto_pwhash_str_verify_async = function (str, passwd, callback) {
  const known = parameters(str)
  const checked = known === null
    ? Promise.resolve(false)
    : passwordLater(known.key.byteLength, passwd, known.salt, known.opslimit, known.memlimit, known.algorithm).then((key) => native.sodium_memcmp(key, known.key))
  return answer(checked, callback)
}

exports.crypto_pwhash_str_needs_rehash = function (str, opslimit, memlimit) {
  const known = parameters(str)
  if (known === null) throw new Error('str must be a string of crypto_pwhash_str')
  return known.opslimit !== opslimit || known.memlimit !== Math.floor(memlimit / 1024) * 1024
}

require('sodium-native/scrypt')(exports, { scryptNow, scryptLater, scryptLimits }, { answer, fill })
