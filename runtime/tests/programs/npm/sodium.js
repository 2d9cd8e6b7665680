// What libsodium's functions make of given bytes: the same under Node with npm's addon.
const sodium = require('sodium-native')

const b = (n, fill) => Buffer.alloc(n, fill)
const hex = (...all) => console.log(...all.map((one) => Buffer.isBuffer(one) ? one.toString('hex') : one))

function out (n, make) {
  const buffer = b(n)
  make(buffer)
  return buffer
}

const text = Buffer.from('what is said here is said to nobody else, and a little longer than one block')
const key = b(32, 3)

hex('generichash', out(32, (o) => sodium.crypto_generichash(o, text)), out(64, (o) => sodium.crypto_generichash(o, text, key)))
hex('batch', out(32, (o) => sodium.crypto_generichash_batch(o, [text, key, text], key)))
const state = b(sodium.crypto_generichash_STATEBYTES)
sodium.crypto_generichash_init(state, key, 32)
sodium.crypto_generichash_update(state, text)
sodium.crypto_generichash_update(state, text)
hex('parts', out(32, (o) => sodium.crypto_generichash_final(state, o)))
hex('sha', out(32, (o) => sodium.crypto_hash_sha256(o, text)), out(64, (o) => sodium.crypto_hash_sha512(o, text)))

const pk = b(32)
const sk = b(64)
sodium.crypto_sign_seed_keypair(pk, sk, key)
const signature = out(64, (o) => sodium.crypto_sign_detached(o, text, sk))
hex('sign', pk, sk, signature, sodium.crypto_sign_verify_detached(signature, text, pk), sodium.crypto_sign_verify_detached(signature, key, pk))
const signed = out(64 + text.length, (o) => sodium.crypto_sign(o, text, sk))
hex('open', sodium.crypto_sign_open(b(text.length), signed, pk), out(32, (o) => sodium.crypto_sign_ed25519_sk_to_pk(o, sk)))
hex('curve', out(32, (o) => sodium.crypto_sign_ed25519_pk_to_curve25519(o, pk)), out(32, (o) => sodium.crypto_sign_ed25519_sk_to_curve25519(o, sk)))

const nonce = b(24, 9)
const sealed = out(text.length + 16, (o) => sodium.crypto_secretbox_easy(o, text, nonce, key))
const opened = b(text.length)
hex('secretbox', sealed, sodium.crypto_secretbox_open_easy(opened, sealed, nonce, key), opened.equals(text))
sealed[20] ^= 1
hex('changed', sodium.crypto_secretbox_open_easy(opened, sealed, nonce, key))
const mac = b(16)
hex('detached', out(text.length, (o) => sodium.crypto_secretbox_detached(o, mac, text, nonce, key)), mac)

const [pk1, sk1, pk2, sk2] = [b(32), b(32), b(32), b(32)]
sodium.crypto_box_seed_keypair(pk1, sk1, b(32, 1))
sodium.crypto_box_seed_keypair(pk2, sk2, b(32, 2))
const boxed = out(text.length + 16, (o) => sodium.crypto_box_easy(o, text, nonce, pk2, sk1))
hex('box', pk1, sk1, boxed, sodium.crypto_box_open_easy(opened, boxed, nonce, pk1, sk2), opened.equals(text))
const anonymous = out(text.length + 48, (o) => sodium.crypto_box_seal(o, text, pk2))
hex('seal', sodium.crypto_box_seal_open(opened, anonymous, pk2, sk2), opened.equals(text))

for (const name of ['xchacha20poly1305', 'chacha20poly1305']) {
  const npub = b(sodium[`crypto_aead_${name}_ietf_NPUBBYTES`], 5)
  const c = b(text.length + 16)
  sodium[`crypto_aead_${name}_ietf_encrypt`](c, text, key, null, npub, key)
  const m = b(text.length)
  sodium[`crypto_aead_${name}_ietf_decrypt`](m, null, c, key, npub, key)
  hex(name, c, m.equals(text))
}

const push = b(52)
const header = b(24)
sodium.crypto_secretstream_xchacha20poly1305_init_pull(push, header, key)
for (const [ad, tag] of [[null, 0], [key.subarray(0, 5), 1], [null, 2], [key, 3], [null, 0]]) {
  const c = b(text.length + 17)
  sodium.crypto_secretstream_xchacha20poly1305_push(push, c, text, ad, tag)
  hex('push', c, push)
}
const pull = b(52)
sodium.crypto_secretstream_xchacha20poly1305_init_pull(pull, header, key)
sodium.crypto_secretstream_xchacha20poly1305_init_pull(push, header, key)
for (const tag of [0, 3, 0]) {
  const c = b(text.length + 17)
  sodium.crypto_secretstream_xchacha20poly1305_push(push, c, text, null, tag)
  const seen = b(1, 255)
  sodium.crypto_secretstream_xchacha20poly1305_pull(pull, opened, seen, c, null)
  hex('pull', seen, opened.equals(text), pull.equals(push))
}

for (const [name, size] of [['', 24], ['_chacha20', 8], ['_chacha20_ietf', 12], ['_xchacha20', 24], ['_salsa20', 8]]) {
  const n = b(size, 6)
  hex('stream' + name, out(70, (o) => sodium[`crypto_stream${name}`](o, n, key)), out(text.length, (o) => sodium[`crypto_stream${name}_xor`](o, text, n, key)))
}

hex('scalarmult', out(32, (o) => sodium.crypto_scalarmult_base(o, sk1)), out(32, (o) => sodium.crypto_scalarmult(o, sk1, pk2)))
hex('ed25519', out(32, (o) => sodium.crypto_scalarmult_ed25519_noclamp(o, sk1, pk)), out(32, (o) => sodium.crypto_scalarmult_ed25519(o, sk1, pk)),
  out(32, (o) => sodium.crypto_scalarmult_ed25519_base(o, sk1)), sodium.crypto_core_ed25519_is_valid_point(pk))
const [rx, tx, rx2, tx2] = [b(32), b(32), b(32), b(32)]
sodium.crypto_kx_client_session_keys(rx, tx, pk1, sk1, pk2)
sodium.crypto_kx_server_session_keys(rx2, tx2, pk2, sk2, pk1)
hex('kx', rx, tx, rx.equals(tx2), tx.equals(rx2))
hex('auth', out(32, (o) => sodium.crypto_auth(o, text, key)), out(16, (o) => sodium.crypto_onetimeauth(o, text, key)), out(8, (o) => sodium.crypto_shorthash(o, text, b(16, 4))))
hex('kdf', out(32, (o) => sodium.crypto_kdf_derive_from_key(o, 77, Buffer.from('contexts'), key)))
hex('pwhash', out(32, (o) => sodium.crypto_pwhash(o, text, b(16, 8), 2, 8192 * 1024, 2)), out(24, (o) => sodium.crypto_pwhash(o, text, b(16, 8), 3, 64 * 1024, 1)))
const stored = out(128, (o) => sodium.crypto_pwhash_str(o, text, 1, 8192 * 8))
hex('password', sodium.crypto_pwhash_str_verify(stored, text), sodium.crypto_pwhash_str_verify(stored, key))
hex('scrypt', out(32, (o) => sodium.crypto_pwhash_scryptsalsa208sha256(o, text, b(32, 8), 32768, 16777216)),
  out(20, (o) => sodium.crypto_pwhash_scryptsalsa208sha256(o, key, b(32, 9), 2 ** 20, 2 ** 24)))
const older = out(102, (o) => sodium.crypto_pwhash_scryptsalsa208sha256_str(o, text, 32768, 16777216))
const known = Buffer.from('$7$86..../....lpkKf46BsdH4te9BUdqQrd3nw38caO2aLzVxvvhuwJC$OgcKtbSKnP7s2sobmg1P3daoUaXCl3Pe32kXL8hOEk5\0')
hex('older password', sodium.crypto_pwhash_scryptsalsa208sha256_str_verify(older, text), sodium.crypto_pwhash_scryptsalsa208sha256_str_verify(older, key),
  sodium.crypto_pwhash_scryptsalsa208sha256_str_verify(known, Buffer.from('pw')), sodium.crypto_pwhash_scryptsalsa208sha256_str_verify(known, Buffer.from('px')),
  sodium.crypto_pwhash_scryptsalsa208sha256_str_needs_rehash(older, 32768, 16777216), sodium.crypto_pwhash_scryptsalsa208sha256_str_needs_rehash(older, 524288, 16777216), older.toString().slice(0, 14))
hex('random', out(40, (o) => sodium.randombytes_buf_deterministic(o, key)))
const number = Buffer.from('ffff00', 'hex')
sodium.sodium_increment(number)
hex('numbers', number, sodium.sodium_memcmp(key, b(32, 3)), sodium.sodium_compare(b(2, 1), b(2, 2)), sodium.sodium_is_zero(b(4)), sodium.sodium_pad(b(32), 5, 16))
for (const bad of [() => sodium.crypto_sign_detached(b(3), text, sk), () => sodium.crypto_scalarmult_ed25519_noclamp(b(32), sk1, b(32)), () => sodium.crypto_generichash(b(3), text)]) {
  try {
    bad()
    console.log('no error')
  } catch (error) {
    console.log('an error')
  }
}
