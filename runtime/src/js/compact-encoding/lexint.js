// compact-encoding 3.5: numbers whose encodings sort as the numbers do.
//
// Below 251 a number is its own byte. A first byte of 251 to 254 says that 1 to 4 bytes follow, the
// most significant first, of the number less 251. 255 starts a floating form: the exponent, less
// 32, as a lexint, and the top 48 bits.

const BASE = 251

function exponent(n) {
  return Math.floor(Math.log(n) / Math.log(2)) - 32
}

// How many bytes follow the first, for numbers below 2³².
function width(n) {
  if (n < 0x100) return 1
  if (n < 0x10000) return 2
  return n < 0x1000000 ? 3 : 4
}

exports.preencode = function preencode(state, n) {
  if (n < BASE) {
    state.end++
  } else if (n < 0x100000000) {
    state.end += 1 + width(n)
  } else {
    state.end++
    preencode(state, exponent(n))
    state.end += 6
  }
}

exports.encode = function encode(state, n) {
  const { buffer } = state
  if (n < BASE) {
    buffer[state.start++] = n
    return
  }

  const rest = n - BASE
  if (n < 0x100000000) {
    const bytes = width(n)
    buffer[state.start++] = BASE + bytes - 1
    for (let i = bytes - 1; i >= 0; i--) buffer[state.start++] = rest >>> (8 * i)
    return
  }

  const exp = exponent(rest)
  buffer[state.start++] = 0xff
  encode(state, exp)
  const top = rest / 2 ** (exp - 11)
  for (let i = 5; i >= 0; i--) buffer[state.start++] = (top / 2 ** (8 * i)) & 0xff
}

exports.decode = function decode(state) {
  if (state.start >= state.end) throw new Error('Out of bounds')
  const { buffer } = state
  const first = buffer[state.start++]
  if (first < BASE) return first

  if (first < 0xff) {
    const bytes = first - BASE + 1
    if (state.end - state.start < bytes) throw new Error('Out of bounds')
    let n = 0
    for (let i = 0; i < bytes; i++) n = n * 256 + buffer[state.start++]
    return n + BASE
  }

  const exp = decode(state)
  if (state.end - state.start < 6) throw new Error('Out of bounds')
  let top = 0
  for (let i = 0; i < 6; i++) top = top * 256 + buffer[state.start++]
  return top * 2 ** (exp - 11) + BASE
}
