// compact-encoding 3.5: the codecs of bytes and texts, in two forms: with their length in front,
// and raw, which take all there is.

const b4a = require('b4a')
const { need, uint } = require('compact-encoding/integers')

const PREFIXED = true
const RAW = false

function setBytes(state, bytes) {
  state.buffer.set(bytes, state.start)
  state.start += bytes.byteLength
}

// Takes the length a prefixed codec starts with, or all there is.
function take(state, prefixed, size = 1) {
  const bytes = prefixed ? uint.decode(state) * size : state.end - state.start
  need(state, bytes)
  const start = state.start
  state.start += bytes
  return state.buffer.subarray(start, state.start)
}

function typedArray(TypedArray, prefixed) {
  const size = TypedArray.BYTES_PER_ELEMENT
  return {
    preencode(state, array) {
      if (prefixed) uint.preencode(state, array.length)
      state.end += array.byteLength
    },
    encode(state, array) {
      if (prefixed) uint.encode(state, array.length)
      const bytes = array.BYTES_PER_ELEMENT === 1
      setBytes(state, bytes ? array : new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
    },
    decode(state) {
      let bytes = take(state, prefixed, size)
      // Elements of more than a byte must stand at a multiple of their size.
      if (bytes.byteOffset % size !== 0) bytes = new Uint8Array(bytes)
      return new TypedArray(bytes.buffer, bytes.byteOffset, bytes.byteLength / size)
    }
  }
}

function arrayBuffer(prefixed) {
  return {
    preencode(state, buffer) {
      if (prefixed) uint.preencode(state, buffer.byteLength)
      state.end += buffer.byteLength
    },
    encode(state, buffer) {
      if (prefixed) uint.encode(state, buffer.byteLength)
      setBytes(state, new Uint8Array(buffer))
    },
    decode(state) {
      return new Uint8Array(take(state, prefixed)).buffer
    }
  }
}

function text(encoding, prefixed) {
  const codec = {
    preencode(state, string) {
      const bytes = b4a.byteLength(string, encoding)
      if (prefixed) uint.preencode(state, bytes)
      state.end += bytes
    },
    encode(state, string) {
      if (prefixed) uint.encode(state, b4a.byteLength(string, encoding))
      state.start += b4a.write(state.buffer, string, state.start, encoding)
    },
    decode(state) {
      const bytes = prefixed ? uint.decode(state) : state.end - state.start
      need(state, bytes)
      const start = state.start
      state.start += bytes
      return b4a.toString(state.buffer, encoding, start, state.start)
    }
  }
  if (prefixed) {
    codec.fixed = (bytes) => ({
      preencode(state) {
        state.end += bytes
      },
      encode(state, string) {
        b4a.write(state.buffer, string, state.start, bytes, encoding)
        state.start += bytes
      },
      decode(state) {
        need(state, bytes)
        const start = state.start
        state.start += bytes
        return b4a.toString(state.buffer, encoding, start, state.start)
      }
    })
  }
  return codec
}

// UTF-8 with its length in front: the most common of all, and one call into Rust each way.
const prefixedUtf8 = {
  ...text('utf-8', PREFIXED),
  preencode(state, string) {
    state.end += native.textSize(string)
  },
  encode(state, string) {
    state.start = native.encodeText(state.buffer, string, state.start)
  },
  decode(state) {
    const bytes = uint.decode(state)
    const { buffer, start } = state
    if (state.end - start < bytes) throw new Error('Out of bounds')
    state.start = start + bytes
    return native.decodeText(buffer, start, start + bytes)
  }
}

function jsonText(utf8, tail) {
  return {
    preencode(state, value) {
      utf8.preencode(state, JSON.stringify(value) + tail)
    },
    encode(state, value) {
      utf8.encode(state, JSON.stringify(value) + tail)
    },
    decode(state) {
      return JSON.parse(utf8.decode(state))
    }
  }
}

function family(prefixed) {
  const uint8array = typedArray(Uint8Array, prefixed)
  const utf8 = prefixed ? prefixedUtf8 : text('utf-8', RAW)
  const utf16le = text('utf16le', prefixed)

  // Unlike a uint8array, what is decoded is a view of the class of the buffer it stands in.
  const buffer = {
    preencode: uint8array.preencode,
    encode: uint8array.encode,
    decode(state) {
      return take(state, prefixed)
    }
  }

  return {
    buffer,
    binary: {
      preencode(state, value) {
        if (typeof value === 'string') utf8.preencode(state, value)
        else buffer.preencode(state, value)
      },
      encode(state, value) {
        if (typeof value === 'string') utf8.encode(state, value)
        else buffer.encode(state, value)
      },
      decode: buffer.decode
    },
    arraybuffer: arrayBuffer(prefixed),
    uint8array,
    uint16array: typedArray(Uint16Array, prefixed),
    uint32array: typedArray(Uint32Array, prefixed),
    int8array: typedArray(Int8Array, prefixed),
    int16array: typedArray(Int16Array, prefixed),
    int32array: typedArray(Int32Array, prefixed),
    biguint64array: typedArray(BigUint64Array, prefixed),
    bigint64array: typedArray(BigInt64Array, prefixed),
    float32array: typedArray(Float32Array, prefixed),
    float64array: typedArray(Float64Array, prefixed),
    string: utf8,
    utf8,
    ascii: text('ascii', prefixed),
    hex: text('hex', prefixed),
    base64: text('base64', prefixed),
    ucs2: utf16le,
    utf16le,
    json: jsonText(utf8, ''),
    ndjson: jsonText(utf8, '\n')
  }
}

const prefixed = family(PREFIXED)

exports.prefixed = {
  ...prefixed,

  // Nothing is the empty buffer.
  optionalBuffer: {
    preencode(state, bytes) {
      if (bytes) prefixed.buffer.preencode(state, bytes)
      else state.end++
    },
    encode(state, bytes) {
      if (bytes) prefixed.buffer.encode(state, bytes)
      else state.buffer[state.start++] = 0
    },
    decode(state) {
      const bytes = take(state, PREFIXED)
      return bytes.byteLength === 0 ? null : bytes
    }
  }
}

exports.raw = {
  preencode(state, bytes) {
    state.end += bytes.byteLength
  },
  encode: setBytes,
  decode(state) {
    return take(state, RAW)
  },
  ...family(RAW),

  // Without a count: as many as there are.
  array(codec) {
    return {
      preencode(state, list) {
        for (const value of list) codec.preencode(state, value)
      },
      encode(state, list) {
        for (const value of list) codec.encode(state, value)
      },
      decode(state) {
        const list = []
        while (state.start < state.end) list.push(codec.decode(state))
        return list
      }
    }
  }
}
