// Keys of passwords by scrypt, and texts that passwords are checked against: `$7$`, the limits, 43 letters of salt, `$`, 43 letters of the key, and a zero.

const NAME = 'crypto_pwhash_scryptsalsa208sha256'
const LETTERS = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SALT = 32
const KEY = 32

// Six bits a letter, the lowest first.
function letters (value, bits) {
  let text = ''
  for (let bit = 0; bit < bits; bit += 6) text += LETTERS[(value >>> bit) & 63]
  return text
}

function lettersOf (bytes) {
  let text = ''
  for (let at = 0; at < bytes.byteLength; at += 3) {
    const part = bytes.subarray(at, at + 3)
    text += letters(part.reduce((value, byte, index) => value | byte << (8 * index), 0), 8 * part.byteLength)
  }
  return text
}

function number (text) {
  return [...text].reduce((value, letter, index) => value + LETTERS.indexOf(letter) * 64 ** index, 0)
}

module.exports = function (exports, native, { answer, fill }) {
  const { scryptNow, scryptLater, scryptLimits } = native

  function limitsOf (opslimit, memlimit) {
    for (const [name, value] of [['opslimit', opslimit], ['memlimit', memlimit]]) {
      const least = `${NAME}_${name.toUpperCase()}_MIN`
      if (!(value >= exports[least])) throw new Error(`${name} must be at least '${least}'`)
    }
    return scryptLimits(opslimit, memlimit)
  }

  function asked (out, passwd, salt, opslimit, memlimit) {
    if (out.byteLength < exports[NAME + '_BYTES_MIN']) throw new Error(`out must be at least '${NAME}_BYTES_MIN' bytes`)
    if (salt.byteLength !== SALT) throw new Error(`salt must be '${NAME}_SALTBYTES' bytes`)
    return [out.byteLength, passwd, salt, ...limitsOf(opslimit, memlimit)]
  }

  exports[NAME] = function (out, passwd, salt, opslimit, memlimit) {
    fill(out, scryptNow(...asked(out, passwd, salt, opslimit, memlimit)), 'out')
  }

  exports[NAME + '_async'] = function (out, passwd, salt, opslimit, memlimit, callback) {
    return answer(scryptLater(...asked(out, passwd, salt, opslimit, memlimit)).then((key) => fill(out, key, 'out')), callback)
  }

  function begin (out, passwd, opslimit, memlimit) {
    if (out.byteLength !== exports[NAME + '_STRBYTES']) throw new Error(`out must be '${NAME}_STRBYTES' bytes`)
    const limits = limitsOf(opslimit, memlimit)
    const bytes = Buffer.alloc(SALT)
    exports.randombytes_buf(bytes)
    const salt = lettersOf(bytes)
    const [log, block, sideBySide] = limits
    const text = exports[NAME + '_STRPREFIX'] + LETTERS[log] + letters(block, 30) + letters(sideBySide, 30) + salt + '$'
    return { args: [KEY, passwd, Buffer.from(salt), ...limits], end: (key) => fill(out, Buffer.from(text + lettersOf(key) + '\0'), 'out') }
  }

  exports[NAME + '_str'] = function (out, passwd, opslimit, memlimit) {
    const { args, end } = begin(out, passwd, opslimit, memlimit)
    end(scryptNow(...args))
  }

  exports[NAME + '_str_async'] = function (out, passwd, opslimit, memlimit, callback) {
    const { args, end } = begin(out, passwd, opslimit, memlimit)
    return answer(scryptLater(...args).then(end), callback)
  }

  function read (str) {
    const text = Buffer.from(str.buffer, str.byteOffset, str.byteLength).toString('latin1')
    const found = /^\$7\$([./0-9A-Za-z])([./0-9A-Za-z]{5})([./0-9A-Za-z]{5})([./0-9A-Za-z]{43})\$([./0-9A-Za-z]{43})\0$/.exec(text)
    if (found === null) return null
    const [log, block, sideBySide] = found.slice(1, 4).map(number)
    return { limits: [log, block, sideBySide], salt: Buffer.from(found[4]), key: Buffer.from(found[5]) }
  }

  const isSame = (key, known) => exports.sodium_memcmp(Buffer.from(lettersOf(key)), known.key)

  exports[NAME + '_str_verify'] = function (str, passwd) {
    const known = read(str)
    if (known === null) return false
    return isSame(scryptNow(KEY, passwd, known.salt, ...known.limits), known)
  }

  exports[NAME + '_str_verify_async'] = function (str, passwd, callback) {
    const known = read(str)
    const checked = known === null
      ? Promise.resolve(false)
      : scryptLater(KEY, passwd, known.salt, ...known.limits).then((key) => isSame(key, known))
    return answer(checked, callback)
  }

  exports[NAME + '_str_needs_rehash'] = function (str, opslimit, memlimit) {
    const known = read(str)
    if (known === null) throw new Error(`str must be a string of ${NAME}_str`)
    return scryptLimits(opslimit, memlimit).some((limit, index) => limit !== known.limits[index])
  }
}
