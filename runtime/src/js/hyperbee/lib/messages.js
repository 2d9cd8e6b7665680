// The blocks of a bee as objects: the messages of hyperbee 2.27's lib/messages.js that programs read raw blocks with.

function readVarint (bytes, at) {
  let value = 0
  let factor = 1
  while (at < bytes.byteLength) {
    const byte = bytes[at++]
    value += (byte & 127) * factor
    if (byte < 128) return [value, at]
    factor *= 128
    if (factor > 2 ** 56) break
  }
  throw new Error('Decoded message is not valid')
}

function varint (value, out) {
  while (value > 127) {
    out.push((value % 128) | 128)
    value = Math.floor(value / 128)
  }
  out.push(value)
}

// The fields of a message, by number. Numbers are of no use here and are passed over.
function fields (bytes, start, end) {
  const found = new Map()
  let at = start
  while (at < end) {
    let tag
    ;[tag, at] = readVarint(bytes, at)
    const kind = tag & 7
    if (kind === 2) {
      let length
      ;[length, at] = readVarint(bytes, at)
      if (at + length > end) throw new Error('Decoded message is not valid')
      found.set(tag >> 3, bytes.subarray(at, at + length))
      at += length
    } else if (kind === 0) {
      ;[, at] = readVarint(bytes, at)
    } else {
      throw new Error('Decoded message is not valid')
    }
  }
  return found
}

function field (number, bytes, parts) {
  const head = []
  head.push((number << 3) | 2)
  varint(bytes.byteLength, head)
  parts.push(Buffer.from(head), bytes)
}

function message (read, write) {
  return {
    encode (value) {
      const parts = []
      write(value, parts)
      return Buffer.concat(parts)
    },
    decode (bytes, start = 0, end = bytes.byteLength) {
      return read(fields(bytes, start, end))
    }
  }
}

exports.Node = message((found) => {
  if (!found.has(1) || !found.has(2)) throw new Error('Decoded message is not valid')
  return { index: found.get(1), key: found.get(2), value: found.get(3) || null }
}, (node, parts) => {
  field(1, node.index, parts)
  field(2, node.key, parts)
  if (node.value !== undefined && node.value !== null) field(3, node.value, parts)
})

const Metadata = message((found) => ({ contentFeed: found.get(1) || null }), (metadata, parts) => {
  if (metadata.contentFeed) field(1, metadata.contentFeed, parts)
})

exports.Metadata = Metadata

exports.Header = message((found) => {
  if (!found.has(1)) throw new Error('Decoded message is not valid')
  return { protocol: found.get(1).toString(), metadata: found.has(2) ? Metadata.decode(found.get(2)) : null }
}, (header, parts) => {
  field(1, Buffer.from(header.protocol), parts)
  if (header.metadata) field(2, Metadata.encode(header.metadata), parts)
})
