// compact-encoding 3.5: binary codecs of the Hypercore stack.

const b4a = require('b4a')
const integers = require('compact-encoding/integers')
const { prefixed, raw } = require('compact-encoding/bytes')
const addresses = require('compact-encoding/address')

const { need, uint, int, ...numbers } = integers
const { utf8, buffer } = prefixed

Object.assign(exports, { uint, int }, numbers, prefixed, addresses)

exports.raw = raw
exports.lexint = require('compact-encoding/lexint')

exports.state = function state(start = 0, end = 0, buffer = null) {
  return { start, end, buffer }
}

exports.encode = function encode(codec, value) {
  const state = { start: 0, end: 0, buffer: null }
  codec.preencode(state, value)
  state.buffer = b4a.allocUnsafe(state.end)
  codec.encode(state, value)
  return state.buffer
}

exports.decode = function decode(codec, buffer) {
  return codec.decode({ start: 0, end: buffer.byteLength, buffer })
}

exports.bool = {
  preencode(state) {
    state.end++
  },
  encode(state, flag) {
    state.buffer[state.start++] = flag ? 1 : 0
  },
  decode(state) {
    need(state, 1)
    return state.buffer[state.start++] === 1
  }
}

// Flags, eight to a byte, the first in the lowest bit.
exports.bitarray = {
  preencode(state, flags) {
    uint.preencode(state, flags.length)
    state.end += Math.ceil(flags.length / 8)
  },
  encode(state, flags) {
    uint.encode(state, flags.length)
    for (let i = 0; i < flags.length; i += 8) {
      let byte = 0
      for (let j = 0; j < 8; j++) if (flags[i + j]) byte |= 1 << j
      state.buffer[state.start++] = byte
    }
  },
  decode(state) {
    const count = uint.decode(state)
    need(state, Math.ceil(count / 8))
    const flags = new Array(count)
    for (let i = 0; i < count; i++) {
      flags[i] = (state.buffer[state.start + (i >>> 3)] & (1 << (i & 7))) !== 0
    }
    state.start += Math.ceil(count / 8)
    return flags
  }
}

exports.fixed = function fixed(bytes) {
  return {
    preencode(state, value) {
      if (value.byteLength !== bytes) throw new Error('Incorrect buffer size')
      state.end += bytes
    },
    encode(state, value) {
      state.buffer.set(value, state.start)
      state.start += bytes
    },
    decode(state) {
      need(state, bytes)
      const start = state.start
      state.start += bytes
      return state.buffer.subarray(start, state.start)
    }
  }
}

exports.fixed8 = exports.fixed(8)
exports.fixed16 = exports.fixed(16)
exports.fixed24 = exports.fixed(24)
exports.fixed32 = exports.fixed(32)
exports.fixed64 = exports.fixed(64)

exports.array = function array(codec) {
  return {
    preencode(state, list) {
      uint.preencode(state, list.length)
      for (let i = 0; i < list.length; i++) codec.preencode(state, list[i])
    },
    encode(state, list) {
      uint.encode(state, list.length)
      for (let i = 0; i < list.length; i++) codec.encode(state, list[i])
    },
    decode(state) {
      const count = uint.decode(state)
      // The count is a stranger's: no memory is taken for more than this.
      if (count > 0x100000) throw new Error('Array is too big')
      const list = new Array(count)
      for (let i = 0; i < count; i++) list[i] = codec.decode(state)
      return list
    }
  }
}

// A value with its size in front, so that a reader of an older version can skip what it does not know.
exports.frame = function frame(codec) {
  const sizeOf = (value) => {
    const state = { start: 0, end: 0, buffer: null }
    codec.preencode(state, value)
    return state.end
  }
  return {
    preencode(state, value) {
      const size = sizeOf(value)
      uint.preencode(state, size)
      state.end += size
    },
    encode(state, value) {
      uint.encode(state, sizeOf(value))
      codec.encode(state, value)
    },
    decode(state) {
      const { end } = state
      const size = uint.decode(state)
      need(state, size)
      state.end = state.start + size
      const value = codec.decode(state)
      state.start = state.end
      state.end = end
      return value
    }
  }
}

exports.date = {
  preencode(state, date) {
    int.preencode(state, date.getTime())
  },
  encode(state, date) {
    int.encode(state, date.getTime())
  },
  decode(state) {
    return new Date(int.decode(state))
  }
}

exports.none = {
  preencode() {},
  encode() {},
  decode() {
    return null
  }
}

exports.record = function record(keys, values) {
  return {
    preencode(state, object) {
      const entries = Object.entries(object)
      uint.preencode(state, entries.length)
      for (const [key, value] of entries) {
        keys.preencode(state, key)
        values.preencode(state, value)
      }
    },
    encode(state, object) {
      const entries = Object.entries(object)
      uint.encode(state, entries.length)
      for (const [key, value] of entries) {
        keys.encode(state, key)
        values.encode(state, value)
      }
    },
    decode(state) {
      const object = Object.create(null)
      for (let count = uint.decode(state); count > 0; count--) {
        const key = keys.decode(state)
        object[key] = values.decode(state)
      }
      return object
    }
  }
}

exports.stringRecord = exports.record(utf8, utf8)

// Any value: what it is, then the value. The place in this list is the type on the wire.
const any = (exports.any = {
  preencode(state, value) {
    const type = typeOf(value)
    uint.preencode(state, type)
    TYPES[type].preencode(state, value)
  },
  encode(state, value) {
    const type = typeOf(value)
    uint.encode(state, type)
    TYPES[type].encode(state, value)
  },
  decode(state) {
    const type = uint.decode(state)
    if (type >= TYPES.length) throw new Error('Unknown type: ' + type)
    return TYPES[type].decode(state)
  }
})

const list = exports.array(any)
const object = exports.record(utf8, any)

const TYPES = [
  exports.none,
  exports.bool,
  utf8,
  buffer,
  uint,
  int,
  numbers.float64,
  {
    ...list,
    decode(state) {
      const values = []
      for (let count = uint.decode(state); count > 0; count--) values.push(any.decode(state))
      return values
    }
  },
  {
    ...object,
    decode(state) {
      return { ...object.decode(state) }
    }
  },
  exports.date
]

function typeOf(value) {
  switch (typeof value) {
    case 'undefined':
      return 0
    case 'boolean':
      return 1
    case 'string':
      return 2
    case 'number':
      if (!Number.isInteger(value)) return 6
      return value >= 0 ? 4 : 5
    case 'object':
      if (value === null) return 0
      if (b4a.isBuffer(value)) return 3
      if (Array.isArray(value)) return 7
      return value instanceof Date ? 9 : 8
  }
  throw new Error('Unsupported type for ' + value)
}

const NAMED = {
  ascii: raw.ascii,
  'utf-8': raw.utf8,
  utf8: raw.utf8,
  hex: raw.hex,
  base64: raw.base64,
  'utf16-le': raw.ucs2,
  utf16le: raw.ucs2,
  'ucs-2': raw.ucs2,
  ucs2: raw.ucs2,
  ndjson: raw.ndjson,
  json: raw.json
}

// A codec for what else is called one: a name, an abstract-encoding, or `{ encode, decode }`.
exports.from = function from(encoding) {
  if (typeof encoding === 'string') return NAMED[encoding] || raw.binary
  if (encoding.preencode) return encoding
  return encoding.encodingLength ? fromAbstract(encoding) : fromCodec(encoding)
}

function fromCodec(encoding) {
  // The value is encoded to know its size; keep that for the encode that follows.
  let last = null
  return {
    preencode(state, value) {
      last = { value, bytes: encoding.encode(value) }
      state.end += last.bytes.byteLength
    },
    encode(state, value) {
      const known = last !== null && last.value === value
      raw.encode(state, known ? last.bytes : encoding.encode(value))
      last = null
    },
    decode(state) {
      return encoding.decode(raw.decode(state))
    }
  }
}

function fromAbstract(encoding) {
  return {
    preencode(state, value) {
      state.end += encoding.encodingLength(value)
    },
    encode(state, value) {
      encoding.encode(value, state.buffer, state.start)
      state.start += encoding.encode.bytes
    },
    decode(state) {
      const value = encoding.decode(state.buffer, state.start, state.end)
      state.start += encoding.decode.bytes
      return value
    }
  }
}
