// bare-type-stripper 0.1: TypeScript without its types, every line and column where it was.

module.exports = exports = function strip(input, encoding) {
  if (typeof encoding === 'object') encoding = undefined
  let bytes
  if (typeof input === 'string') bytes = Buffer.from(input, encoding)
  else if (ArrayBuffer.isView(input)) bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  else throw new TypeError(`Input must be a string or buffer. Received type ${typeof input}`)
  return Buffer.from(native.stripTypes(bytes.toString()))
}
