// bare-type 1.4: what kind of value a value is, by its class in the engine and not by what it says
// of itself.
//
// A kind is a number: the lowest byte is what `typeof` tells, the next byte the class of an object
// (for numbers and functions: flags), the rest the element type of a typed array.

const NUMBER = 3
const OBJECT = 6
const FUNCTION = 7

const t = {
  UNDEFINED: 0,
  NULL: 1,
  BOOLEAN: 2,
  NUMBER,
  STRING: 4,
  SYMBOL: 5,
  OBJECT,
  FUNCTION,
  EXTERNAL: 8,
  BIGINT: 9,
  INT32: NUMBER | 0x100,
  UINT32: NUMBER | 0x200,
  ASYNC_FUNCTION: FUNCTION | 0x100,
  GENERATOR_FUNCTION: FUNCTION | 0x200,
  ASYNC_GENERATOR_FUNCTION: FUNCTION | 0x300
}

for (const [name, n] of Object.entries({
  ARRAY: 1,
  ARGUMENTS: 2,
  DATE: 3,
  REGEXP: 4,
  ERROR: 5,
  PROMISE: 6,
  PROXY: 7,
  GENERATOR: 8,
  MAP: 9,
  SET: 10,
  WEAK_MAP: 13,
  WEAK_SET: 14,
  WEAK_REF: 15,
  ARRAYBUFFER: 16,
  SHAREDARRAYBUFFER: 17,
  TYPEDARRAY: 18,
  DATAVIEW: 19,
  MODULE_NAMESPACE: 20,
  BOOLEAN_OBJECT: 21,
  NUMBER_OBJECT: 22,
  STRING_OBJECT: 23,
  SYMBOL_OBJECT: 24,
  BIGINT_OBJECT: 25
})) {
  t[name] = OBJECT | (n << 8)
}

const ELEMENTS = ['Int8', 'Uint8', 'Uint8Clamped', 'Int16', 'Uint16', 'Int32', 'Uint32', 'Float32']
ELEMENTS.push('Float64', 'BigInt64', 'BigUint64', 'Float16')

ELEMENTS.forEach((name, i) => {
  t[name.toUpperCase() + 'ARRAY'] = t.TYPEDARRAY | ((i + 1) << 16)
})

// By the name of the engine's class.
const CLASSES = new Map([
  ['Array', t.ARRAY],
  ['Arguments', t.ARGUMENTS],
  ['Date', t.DATE],
  ['RegExp', t.REGEXP],
  ['Error', t.ERROR],
  ['Promise', t.PROMISE],
  ['Proxy', t.PROXY],
  ['Generator', t.GENERATOR],
  ['AsyncGenerator', t.GENERATOR],
  ['Map', t.MAP],
  ['Set', t.SET],
  ['WeakMap', t.WEAK_MAP],
  ['WeakSet', t.WEAK_SET],
  ['WeakRef', t.WEAK_REF],
  ['ArrayBuffer', t.ARRAYBUFFER],
  ['SharedArrayBuffer', t.SHAREDARRAYBUFFER],
  ['DataView', t.DATAVIEW],
  ['Module', t.MODULE_NAMESPACE],
  ['Boolean', t.BOOLEAN_OBJECT],
  ['Number', t.NUMBER_OBJECT],
  ['String', t.STRING_OBJECT],
  ['Symbol', t.SYMBOL_OBJECT],
  ['BigInt', t.BIGINT_OBJECT]
])

for (const name of ELEMENTS) CLASSES.set(name + 'Array', t[name.toUpperCase() + 'ARRAY'])

const FUNCTIONS = new Map([
  ['AsyncFunction', t.ASYNC_FUNCTION],
  ['GeneratorFunction', t.GENERATOR_FUNCTION],
  ['AsyncGeneratorFunction', t.ASYNC_GENERATOR_FUNCTION]
])

// A small whole number is both an int32 and a uint32; a negative zero is neither.
function numberKind(n) {
  if (!Number.isInteger(n) || Object.is(n, -0)) return t.NUMBER
  let kind = t.NUMBER
  if (n >= -0x80000000 && n <= 0x7fffffff) kind |= t.INT32
  if (n >= 0 && n <= 0xffffffff) kind |= t.UINT32
  return kind
}

function of(value) {
  switch (typeof value) {
    case 'undefined':
      return t.UNDEFINED
    case 'boolean':
      return t.BOOLEAN
    case 'number':
      return numberKind(value)
    case 'string':
      return t.STRING
    case 'symbol':
      return t.SYMBOL
    case 'bigint':
      return t.BIGINT
    case 'function':
      return FUNCTIONS.get(native.className(value)) || t.FUNCTION
    default:
      if (value === null) return t.NULL
      return CLASSES.get(native.className(value)) || t.OBJECT
  }
}

class Type {
  constructor(kind) {
    this._type = kind
  }
}

// isDate() and the like: the kind and nothing else.
const EXACT = {
  isUndefined: t.UNDEFINED,
  isNull: t.NULL,
  isBoolean: t.BOOLEAN,
  isString: t.STRING,
  isSymbol: t.SYMBOL,
  isBigInt: t.BIGINT,
  isExternal: t.EXTERNAL,
  isArray: t.ARRAY,
  isArguments: t.ARGUMENTS,
  isDate: t.DATE,
  isRegExp: t.REGEXP,
  isError: t.ERROR,
  isPromise: t.PROMISE,
  isProxy: t.PROXY,
  isGenerator: t.GENERATOR,
  isMap: t.MAP,
  isSet: t.SET,
  isWeakMap: t.WEAK_MAP,
  isWeakSet: t.WEAK_SET,
  isWeakRef: t.WEAK_REF,
  isArrayBuffer: t.ARRAYBUFFER,
  isSharedArrayBuffer: t.SHAREDARRAYBUFFER,
  isDataView: t.DATAVIEW,
  isModuleNamespace: t.MODULE_NAMESPACE,
  isBooleanObject: t.BOOLEAN_OBJECT,
  isNumberObject: t.NUMBER_OBJECT,
  isStringObject: t.STRING_OBJECT,
  isSymbolObject: t.SYMBOL_OBJECT,
  isBigIntObject: t.BIGINT_OBJECT,
  isInt8Array: t.INT8ARRAY,
  isUint8Array: t.UINT8ARRAY,
  isUint8ClampedArray: t.UINT8CLAMPEDARRAY,
  isInt16Array: t.INT16ARRAY,
  isUint16Array: t.UINT16ARRAY,
  isInt32Array: t.INT32ARRAY,
  isUint32Array: t.UINT32ARRAY,
  isFloat16Array: t.FLOAT16ARRAY,
  isFloat32Array: t.FLOAT32ARRAY,
  isFloat64Array: t.FLOAT64ARRAY,
  isBigInt64Array: t.BIGINT64ARRAY,
  isBigUint64Array: t.BIGUINT64ARRAY,
  isAsyncGeneratorFunction: t.ASYNC_GENERATOR_FUNCTION
}

// isObject() and the like: these bits of the kind.
const MASKED = {
  isNumber: [0xff, t.NUMBER],
  isInt32: [t.INT32 | 0xff, t.INT32],
  isUint32: [t.UINT32 | 0xff, t.UINT32],
  isObject: [0xff, t.OBJECT],
  isTypedArray: [0xffff, t.TYPEDARRAY],
  isFunction: [0xff, t.FUNCTION],
  isAsyncFunction: [t.ASYNC_FUNCTION | 0xff, t.ASYNC_FUNCTION],
  isGeneratorFunction: [t.GENERATOR_FUNCTION | 0xff, t.GENERATOR_FUNCTION]
}

function method(name, value) {
  Object.defineProperty(Type.prototype, name, { value, writable: true, configurable: true })
}

for (const [name, kind] of Object.entries(EXACT)) {
  method(name, function () {
    return this._type === kind
  })
}

for (const [name, [mask, kind]] of Object.entries(MASKED)) {
  method(name, function () {
    return (this._type & mask) === kind
  })
}

module.exports = exports = function type(value) {
  return new Type(of(value))
}

exports.of = of
exports.constants = t
