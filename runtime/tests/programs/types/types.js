// not in bare
const type = require('bare-type')
const util = require('bare-utils')

const values = {
  undefined: undefined,
  null: null,
  true: true,
  int: 1,
  negative: -1,
  zero: -0,
  large: 2 ** 32,
  float: 1.5,
  string: 's',
  symbol: Symbol('s'),
  bigint: 1n,
  object: {},
  array: [],
  subArray: new (class extends Array {})(),
  arguments: (function () {
    return arguments
  })(),
  date: new Date(),
  regexp: /x/,
  error: new TypeError('x'),
  promise: Promise.resolve(),
  proxy: new Proxy({}, {}),
  generator: (function* () {})(),
  map: new Map(),
  fake: Object.create(Map.prototype),
  set: new Set(),
  weakMap: new WeakMap(),
  weakSet: new WeakSet(),
  weakRef: new WeakRef({}),
  arrayBuffer: new ArrayBuffer(1),
  shared: new SharedArrayBuffer(1),
  dataView: new DataView(new ArrayBuffer(1)),
  boolean: Object(true),
  number: Object(1),
  text: Object('x'),
  function: function () {},
  arrow: () => {},
  class: class {},
  async: async () => {},
  generatorFunction: function* () {},
  asyncGenerator: async function* () {},
  buffer: Buffer.alloc(1)
}
for (const T of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array]) {
  values[T.name] = new T(1)
}

const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(type(1))).filter((name) => name.startsWith('is')).sort()
for (const [name, value] of Object.entries(values)) {
  const kind = type(value)
  console.log(name, type.of(value), methods.filter((method) => kind[method]()).join())
}
console.log(util.types.isAnyArrayBuffer(values.shared), util.types.isTypedArray(values.buffer), util.types.isArrayBufferView(values.dataView))

util.promisify((a, cb) => cb(null, a + 1))(1).then((value) => console.log(value))
util.promisify((cb) => cb(new Error('no')))().catch((err) => console.log(err.message))
