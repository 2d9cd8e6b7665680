// bare-punycode 0.0 (punycode 2.3): Unicode in the letters of host names. After RFC 3492.

const BASE = 36
const T_MIN = 1
const T_MAX = 26
const SKEW = 38
const DAMP = 700
const INITIAL_BIAS = 72
const INITIAL_N = 0x80
const MAX = 0x7fffffff
const DIGITS = 'abcdefghijklmnopqrstuvwxyz0123456789'

const SEPARATORS = /[.\u3002\uff0e\uff61]/g
const NOT_ASCII = /[^\0-\x7f]/

function digitOf(char) {
  const digit = DIGITS.indexOf(char.toLowerCase())
  if (char === '' || digit === -1) throw new RangeError('Invalid input')
  return digit
}

// How the threshold moves after a character, from how far it was from the one before.
function adapt(delta, count, first) {
  delta = first ? Math.floor(delta / DAMP) : delta >> 1
  delta += Math.floor(delta / count)
  let k = 0
  for (; delta > ((BASE - T_MIN) * T_MAX) >> 1; k += BASE) delta = Math.floor(delta / (BASE - T_MIN))
  return k + Math.floor(((BASE - T_MIN + 1) * delta) / (delta + SKEW))
}

function threshold(k, bias) {
  return Math.min(T_MAX, Math.max(T_MIN, k - bias))
}

exports.version = '2.3.1'

// As in the package, `decode` gives code points and leaves halves of surrogate pairs as they are.
exports.ucs2 = {
  decode(text) {
    return Array.from(text, (char) => char.codePointAt(0))
  },
  encode(points) {
    return String.fromCodePoint(...points)
  }
}

exports.decode = function decode(input) {
  const split = Math.max(0, input.lastIndexOf('-'))
  const output = []
  for (const char of input.slice(0, split)) {
    if (char > '\x7f') throw new RangeError('Illegal input >= 0x80 (not a basic code point)')
    output.push(char.codePointAt(0))
  }

  let n = INITIAL_N
  let i = 0
  let bias = INITIAL_BIAS
  let at = split > 0 ? split + 1 : 0
  while (at < input.length) {
    const before = i
    let weight = 1
    for (let k = BASE; ; k += BASE) {
      const digit = digitOf(input.charAt(at++))
      i += digit * weight
      if (i > MAX) throw new RangeError('Overflow: input needs wider integers to process')
      const t = threshold(k, bias)
      if (digit < t) break
      weight *= BASE - t
    }
    const count = output.length + 1
    bias = adapt(i - before, count, before === 0)
    n += Math.floor(i / count)
    i %= count
    output.splice(i++, 0, n)
  }
  return String.fromCodePoint(...output)
}

exports.encode = function encode(input) {
  const points = exports.ucs2.decode(input)
  let output = ''
  for (const point of points) if (point < INITIAL_N) output += String.fromCharCode(point)
  const basic = output.length
  let handled = basic
  if (basic > 0) output += '-'

  let n = INITIAL_N
  let delta = 0
  let bias = INITIAL_BIAS
  while (handled < points.length) {
    const next = Math.min(...points.filter((point) => point >= n))
    delta += (next - n) * (handled + 1)
    if (delta > MAX) throw new RangeError('Overflow: input needs wider integers to process')
    n = next
    for (const point of points) {
      if (point < n) delta++
      if (point !== n) continue
      let q = delta
      for (let k = BASE; ; k += BASE) {
        const t = threshold(k, bias)
        if (q < t) break
        output += DIGITS[t + ((q - t) % (BASE - t))]
        q = Math.floor((q - t) / (BASE - t))
      }
      output += DIGITS[q]
      bias = adapt(delta, handled + 1, handled === basic)
      delta = 0
      handled++
    }
    delta++
    n++
  }
  return output
}

// Applies to each label of a host name; what stands before an `@` is not one.
function mapLabels(input, map) {
  const parts = input.split('@')
  const host = parts.pop().replace(SEPARATORS, '.')
  const labels = host.split('.').map(map).join('.')
  return parts.length > 0 ? parts[0] + '@' + labels : labels
}

exports.toUnicode = function toUnicode(input) {
  return mapLabels(input, (label) => {
    return label.startsWith('xn--') ? exports.decode(label.slice(4).toLowerCase()) : label
  })
}

exports.toASCII = function toASCII(input) {
  return mapLabels(input, (label) => {
    return NOT_ASCII.test(label) ? 'xn--' + exports.encode(label) : label
  })
}
