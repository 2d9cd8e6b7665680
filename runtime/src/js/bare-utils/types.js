// bare-utils 1.6: `util.types`.

const type = require('bare-type')

for (const name of [
  'ArrayBuffer',
  'AsyncFunction',
  'BigInt64Array',
  'BigUint64Array',
  'DataView',
  'Date',
  'External',
  'Float16Array',
  'Float32Array',
  'Float64Array',
  'GeneratorFunction',
  'Int8Array',
  'Int16Array',
  'Int32Array',
  'Map',
  'Promise',
  'Proxy',
  'RegExp',
  'Set',
  'SharedArrayBuffer',
  'TypedArray',
  'Uint8Array',
  'Uint8ClampedArray',
  'Uint16Array',
  'Uint32Array',
  'BooleanObject',
  'NumberObject',
  'StringObject',
  'SymbolObject',
  'BigIntObject',
  'WeakMap',
  'WeakSet'
]) {
  const method = 'is' + name
  exports[method] = (value) => type(value)[method]()
}

exports.isNativeError = (value) => type(value).isError()
exports.isArgumentsObject = (value) => type(value).isArguments()
exports.isGeneratorObject = (value) => type(value).isGenerator()
exports.isModuleNamespaceObject = (value) => type(value).isModuleNamespace()
exports.isArrayBufferView = (value) => ArrayBuffer.isView(value)

exports.isAnyArrayBuffer = (value) => {
  const kind = type(value)
  return kind.isArrayBuffer() || kind.isSharedArrayBuffer()
}

exports.isBoxedPrimitive = (value) =>
  ['Boolean', 'Number', 'String', 'Symbol', 'BigInt'].some((name) =>
    exports[`is${name}Object`](value)
  )
