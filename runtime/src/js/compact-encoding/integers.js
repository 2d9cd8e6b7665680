// compact-encoding 3.5: the codecs of numbers.
//
// A codec is `{ preencode, encode, decode }` over a state `{ start, end, buffer }`: preencode adds
// a value's size to `end`, encode writes at `start`, decode reads from `start` up to `end`.

const MAX = Number.MAX_SAFE_INTEGER
// An int is doubled before it is written as a uint, so it reaches half as far.
const MIN_INT = -(2 ** 52)
const MAX_INT = 2 ** 52 - 1

function checkUint(n) {
  if (n >= 0 && n <= MAX) return n
  throw new Error(`uint must be between 0 and ${MAX}, use biguint`)
}

function checkInt(n) {
  if (n >= MIN_INT && n <= MAX_INT) return n
  throw new Error(`int must be between ${MIN_INT} and ${MAX_INT}, use bigint`)
}

function need(state, bytes) {
  if (state.end - state.start < bytes) throw new Error('Out of bounds')
}

const ROUND = 2 ** 32

// Whole numbers of 1 to 8 bytes, the least significant first.
function fixedUint(bytes) {
  const low = Math.min(bytes, 4)
  return {
    preencode(state) {
      state.end += bytes
    },
    encode(state, n) {
      checkUint(n)
      const { buffer } = state
      let at = state.start
      let rest = n
      for (let i = 0; i < low; i++) {
        buffer[at++] = rest
        rest = rest >>> 8
      }
      if (bytes > 4) {
        rest = Math.floor(n / ROUND)
        for (let i = 4; i < bytes; i++) {
          buffer[at++] = rest
          rest = rest >>> 8
        }
      }
      state.start = at
    },
    decode(state) {
      need(state, bytes)
      const { buffer, start } = state
      let n = 0
      for (let i = bytes - 1; i >= 0; i--) n = n * 256 + buffer[start + i]
      state.start = start + bytes
      if (bytes > 6) checkUint(n)
      return n
    }
  }
}

// The same, the most significant byte first.
function fixedUintBE(bytes) {
  const little = fixedUint(bytes)
  return {
    preencode: little.preencode,
    encode(state, n) {
      const { start } = state
      little.encode(state, n)
      state.buffer.subarray(start, state.start).reverse()
    },
    decode(state) {
      need(state, bytes)
      const { buffer, start } = state
      let n = 0
      for (let i = 0; i < bytes; i++) n = n * 256 + buffer[start + i]
      state.start = start + bytes
      return checkUint(n)
    }
  }
}

const uint8 = {
  preencode(state) {
    state.end++
  },
  encode(state, n) {
    checkUint(n)
    state.buffer[state.start++] = n
  },
  decode(state) {
    if (state.start >= state.end) throw new Error('Out of bounds')
    return state.buffer[state.start++]
  }
}

// The two that others are made of, written out.
const uint16 = {
  preencode(state) {
    state.end += 2
  },
  encode(state, n) {
    checkUint(n)
    const { buffer, start } = state
    buffer[start] = n
    buffer[start + 1] = n >>> 8
    state.start = start + 2
  },
  decode(state) {
    const { buffer, start } = state
    if (state.end - start < 2) throw new Error('Out of bounds')
    state.start = start + 2
    return buffer[start] + buffer[start + 1] * 0x100
  }
}

const uint32 = {
  preencode(state) {
    state.end += 4
  },
  encode(state, n) {
    checkUint(n)
    const { buffer, start } = state
    buffer[start] = n
    buffer[start + 1] = n >>> 8
    buffer[start + 2] = n >>> 16
    buffer[start + 3] = n >>> 24
    state.start = start + 4
  },
  decode(state) {
    const { buffer, start } = state
    if (state.end - start < 4) throw new Error('Out of bounds')
    state.start = start + 4
    const low = buffer[start] + buffer[start + 1] * 0x100
    return low + buffer[start + 2] * 0x10000 + buffer[start + 3] * 0x1000000
  }
}

const uint24 = fixedUint(3)
const uint40 = fixedUint(5)
const uint48 = fixedUint(6)
const uint56 = fixedUint(7)
const uint64 = fixedUint(8)

// One byte up to 252, else a tag and 2, 4 or 8 bytes.
const uint = {
  preencode(state, n) {
    state.end += n <= 0xfc ? 1 : n <= 0xffff ? 3 : n <= 0xffffffff ? 5 : 9
  },
  encode(state, n) {
    if (n <= 0xfc) {
      if (n < 0) checkUint(n)
      state.buffer[state.start++] = n
    } else if (n <= 0xffff) {
      state.buffer[state.start++] = 0xfd
      uint16.encode(state, n)
    } else if (n <= 0xffffffff) {
      state.buffer[state.start++] = 0xfe
      uint32.encode(state, n)
    } else {
      checkUint(n)
      state.buffer[state.start++] = 0xff
      uint64.encode(state, n)
    }
  },
  decode(state) {
    if (state.start >= state.end) throw new Error('Out of bounds')
    const first = state.buffer[state.start++]
    if (first <= 0xfc) return first
    if (first === 0xfd) return uint16.decode(state)
    if (first === 0xfe) return uint32.decode(state)
    return uint64.decode(state)
  }
}

// Signed numbers take turns: 0, -1, 1, -2, 2, …
function zigzag(codec) {
  const fold = (n) => {
    checkInt(n)
    return n < 0 ? -2 * n - 1 : n === 0 ? 0 : 2 * n
  }
  return {
    preencode(state, n) {
      codec.preencode(state, fold(n))
    },
    encode(state, n) {
      codec.encode(state, fold(n))
    },
    decode(state) {
      const n = codec.decode(state)
      return n % 2 === 0 ? n / 2 : -(n + 1) / 2
    }
  }
}

function bigZigzag(codec) {
  const fold = (n) => (n < 0n ? -2n * n - 1n : 2n * n)
  return {
    preencode(state, n) {
      codec.preencode(state, fold(n))
    },
    encode(state, n) {
      codec.encode(state, fold(n))
    },
    decode(state) {
      const n = codec.decode(state)
      return n % 2n === 0n ? n / 2n : -(n + 1n) / 2n
    }
  }
}

function viewOf({ buffer }) {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}

function viewed(bytes, getter, setter) {
  return {
    preencode(state) {
      state.end += bytes
    },
    encode(state, n) {
      viewOf(state)[setter](state.start, n, true)
      state.start += bytes
    },
    decode(state) {
      need(state, bytes)
      const n = viewOf(state)[getter](state.start, true)
      state.start += bytes
      return n
    }
  }
}

const biguint64 = viewed(8, 'getBigUint64', 'setBigUint64')

// A BigInt of any size: a count of 64-bit words, then these, the least significant first.
const biguint = {
  preencode(state, n) {
    const words = wordsOf(n)
    uint.preencode(state, words)
    state.end += 8 * words
  },
  encode(state, n) {
    uint.encode(state, wordsOf(n))
    const view = viewOf(state)
    for (let rest = n; rest; rest >>= 64n) {
      view.setBigUint64(state.start, BigInt.asUintN(64, rest), true)
      state.start += 8
    }
  },
  decode(state) {
    const words = uint.decode(state)
    need(state, 8 * words)
    const view = viewOf(state)
    let n = 0n
    for (let i = words - 1; i >= 0; i--) {
      n = (n << 64n) | view.getBigUint64(state.start + 8 * i, true)
    }
    state.start += 8 * words
    return n
  }
}

function wordsOf(n) {
  let words = 0
  for (let rest = n; rest; rest >>= 64n) words++
  return words
}

module.exports = {
  need,
  uint,
  uint8,
  uint16,
  uint24,
  uint32,
  uint32be: fixedUintBE(4),
  uint40,
  uint48,
  uint56,
  uint64,
  uint64be: fixedUintBE(8),
  int: zigzag(uint),
  int8: zigzag(uint8),
  int16: zigzag(uint16),
  int24: zigzag(uint24),
  int32: zigzag(uint32),
  int40: zigzag(uint40),
  int48: zigzag(uint48),
  int56: zigzag(uint56),
  int64: zigzag(uint64),
  biguint64,
  bigint64: bigZigzag(biguint64),
  biguint,
  bigint: bigZigzag(biguint),
  float32: viewed(4, 'getFloat32', 'setFloat32'),
  float64: viewed(8, 'getFloat64', 'setFloat64')
}
