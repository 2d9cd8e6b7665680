// What copies a value, with all that it refers to, once each. Classes of a program's own take part through the symbols below, if they are listed as
// `interfaces`.

const getType = require('bare-type')
const Buffer = require('bare-buffer')

const symbols = {
  serialize: Symbol.for('bare.serialize'),
  deserialize: Symbol.for('bare.deserialize'),
  detach: Symbol.for('bare.detach'),
  attach: Symbol.for('bare.attach'),
  interface: Symbol.for('bare.interface')
}

class DataCloneError extends Error {
  constructor(message, code, caller = DataCloneError) {
    super(`${code}: ${message}`)
    this.code = code
    if (Error.captureStackTrace) Error.captureStackTrace(this, caller)
  }

  get name() {
    return 'DataCloneError'
  }
}

for (const code of [
  'INVALID_VERSION',
  'UNSERIALIZABLE_TYPE',
  'UNTRANSFERABLE_TYPE',
  'ALREADY_TRANSFERRED',
  'INVALID_REFERENCE',
  'INVALID_INTERFACE',
  'INVALID_PROPERTY_KEY',
  'INVALID_ARRAY_LAYOUT',
  'INVALID_TYPE',
  'INVALID_VIEW'
]) {
  DataCloneError[code] = function make(message) {
    return new DataCloneError(message, code, make)
  }
}

// An instance of a listed class between its two ends: what it gave for the other side to make it of.
class Carried {
  constructor(type, data, transferred) {
    this.type = type
    this.data = data
    this.transferred = transferred
  }
}

class Interfaces {
  constructor(list = []) {
    this.list = list
  }

  // The listed class that a constructor is, or is another copy of.
  find(constructor) {
    const key = constructor && constructor[symbols.interface]
    const found = this.list.find((type) => {
      return type === constructor || (key !== undefined && type[symbols.interface] === key)
    })
    if (found) return found
    throw DataCloneError.INVALID_INTERFACE(
      `Class '${constructor.name}' is not registered as a serializable or transferable interface`
    )
  }
}

const UNSERIALIZABLE = ['Promise', 'Proxy', 'WeakMap', 'WeakSet', 'WeakRef', 'Generator']

const ERRORS = {
  AggregateError,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError
}

class Copier {
  constructor({ interfaces, forStorage = false, unpack = false }) {
    this.interfaces = interfaces
    this.forStorage = forStorage
    // Whether listed classes are made (the way back) or taken apart (the way there).
    this.unpack = unpack
    this.seen = new Map()
  }

  copy(value) {
    switch (typeof value) {
      case 'symbol':
        throw DataCloneError.UNSERIALIZABLE_TYPE(
          `Symbol '${value.description}' cannot be serialized`
        )
      case 'function':
        throw DataCloneError.UNSERIALIZABLE_TYPE(`Function '${value.name}' cannot be serialized`)
      case 'object':
        return value === null ? null : this.copyObject(value)
      default:
        return value
    }
  }

  copyObject(object) {
    if (this.seen.has(object)) return this.seen.get(object)
    const type = getType(object)

    for (const name of UNSERIALIZABLE) {
      if (type['is' + name]()) {
        throw DataCloneError.UNSERIALIZABLE_TYPE(`${name} cannot be serialized`)
      }
    }
    if (object instanceof Carried) return this.open(object)
    if (object instanceof URL) return this.copyURL(object)
    if (type.isDate()) return this.keep(object, new Date(object.getTime()))
    if (type.isRegExp()) return this.keep(object, new RegExp(object.source, object.flags))
    if (type.isError()) return this.copyError(object)
    if (type.isMap()) return this.copyMap(object)
    if (type.isSet()) return this.copySet(object)
    if (type.isArrayBuffer()) return this.copyArrayBuffer(object)
    if (type.isSharedArrayBuffer()) return this.share(object)
    if (ArrayBuffer.isView(object)) return this.copyView(object)
    if (type.isArray()) return this.copyProperties(object, new Array(object.length))
    if (object[symbols.serialize]) return this.take(object)
    if (object[symbols.detach]) {
      throw DataCloneError.UNSERIALIZABLE_TYPE(
        `'${object.constructor.name}' can only be serialized by transferring it`
      )
    }
    return this.copyProperties(object, {})
  }

  keep(object, copy) {
    this.seen.set(object, copy)
    return copy
  }

  copyURL(url) {
    return this.keep(url, new URL(url.href))
  }

  copyProperties(object, copy) {
    this.keep(object, copy)
    for (const key of Object.keys(object)) copy[key] = this.copy(object[key])
    return copy
  }

  copyError(error) {
    const type = ERRORS[error.name] || Error
    const message = String(error.message)
    const copy = this.keep(error, type === AggregateError ? new type([], message) : new type(message))
    Object.defineProperty(copy, 'stack', {
      value: this.copy(error.stack),
      writable: true,
      configurable: true
    })
    for (const key of ['cause', 'errors']) {
      if (!(key in error) || (key === 'errors' && type !== AggregateError)) continue
      Object.defineProperty(copy, key, {
        value: this.copy(error[key]),
        writable: true,
        configurable: true
      })
    }
    return copy
  }

  copyMap(map) {
    const copy = this.keep(map, new Map())
    for (const [key, value] of [...map]) copy.set(this.copy(key), this.copy(value))
    return copy
  }

  copySet(set) {
    const copy = this.keep(set, new Set())
    for (const value of [...set]) copy.add(this.copy(value))
    return copy
  }

  copyArrayBuffer(buffer) {
    if (buffer.detached) {
      throw DataCloneError.UNSERIALIZABLE_TYPE('Detached ArrayBuffer cannot be serialized')
    }
    if (!buffer.resizable) return this.keep(buffer, buffer.slice(0))
    const copy = new ArrayBuffer(buffer.byteLength, { maxByteLength: buffer.maxByteLength })
    new Uint8Array(copy).set(new Uint8Array(buffer))
    return this.keep(buffer, copy)
  }

  share(buffer) {
    if (this.forStorage) {
      throw DataCloneError.UNSERIALIZABLE_TYPE('SharedArrayBuffer cannot be serialized to storage')
    }
    return this.keep(buffer, buffer)
  }

  copyView(view) {
    const { buffer, byteOffset } = view
    // A view of a part of a larger buffer takes only its part along, unless the buffer goes as well.
    const part =
      byteOffset !== 0 || view.byteLength !== buffer.byteLength
        ? getType(buffer).isArrayBuffer() && !buffer.resizable && !this.seen.has(buffer)
        : false
    const copy = part
      ? buffer.slice(byteOffset, byteOffset + view.byteLength)
      : this.copyObject(buffer)
    const { type, length } = shapeOf(view)
    return this.view(view, type, copy, part ? 0 : byteOffset, length)
  }

  view(view, type, buffer, byteOffset, length) {
    return this.keep(view, new type(buffer, byteOffset, length))
  }

  carry(object, type, data, transferred) {
    return this.keep(object, new Carried(type, data, transferred))
  }

  take(object) {
    const type = this.interfaces.find(object.constructor)
    const data = this.copy(object[symbols.serialize](this.forStorage))
    return this.carry(object, type, data, false)
  }

  open(carried) {
    if (!this.unpack) return this.keep(carried, carried)
    const type = this.interfaces.find(carried.type)
    const make = type[carried.transferred ? symbols.attach : symbols.deserialize]
    return this.keep(carried, make.call(type, this.copy(carried.data)))
  }

  // Takes what is to be transferred away from its owner.
  transfer(list) {
    for (const object of list) {
      if (this.seen.has(object)) {
        throw DataCloneError.ALREADY_TRANSFERRED('Object has already been transferred')
      }
      if (getType(object).isArrayBuffer()) {
        if (object.detached) {
          throw DataCloneError.UNTRANSFERABLE_TYPE('Detached ArrayBuffer cannot be transferred')
        }
        this.keep(object, object.transfer())
      } else if (object !== null && typeof object === 'object' && object[symbols.detach]) {
        const type = this.interfaces.find(object.constructor)
        if (object.detached) {
          throw DataCloneError.UNTRANSFERABLE_TYPE('Detached object cannot be transferred')
        }
        this.carry(object, type, object[symbols.detach](), true)
      } else {
        throw DataCloneError.UNTRANSFERABLE_TYPE('Object cannot be transferred')
      }
    }
  }
}

const tagOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag
).get

// The class of a view and how many elements it has.
function shapeOf(view) {
  if (getType(view).isDataView()) return { type: DataView, length: view.byteLength }
  const type = Buffer.isBuffer(view) ? Buffer : globalThis[tagOf.call(view)]
  return { type, length: view.length }
}

function collectViews(value, buffers, seen, places) {
  if (value === null || typeof value !== 'object' || seen.has(value)) return
  seen.add(value)
  if (ArrayBuffer.isView(value)) {
    if (!buffers.has(value.buffer)) return
    const { buffer, byteOffset } = value
    places.set(value, { buffer, byteOffset, ...shapeOf(value) })
    return
  }
  const kind = getType(value)
  if (kind.isMap()) {
    for (const pair of value) pair.forEach((part) => collectViews(part, buffers, seen, places))
  } else if (kind.isSet()) {
    for (const part of value) collectViews(part, buffers, seen, places)
  } else if (!kind.isProxy() && !kind.isArrayBuffer()) {
    for (const key of Object.keys(value)) collectViews(value[key], buffers, seen, places)
  }
}

// Has a copier take what is to be transferred, then copies.
function pack(copier, value, transfer) {
  if (transfer.length > 0) {
    // A view of a buffer that is transferred tells its place before the buffer goes.
    const places = new Map()
    collectViews(value, new Set(transfer), new Set(), places)
    copier.transfer(transfer)
    for (const [view, { type, buffer, byteOffset, length }] of places) {
      copier.view(view, type, copier.seen.get(buffer), byteOffset, length)
    }
  }
  return copier.copy(value)
}

module.exports = { Copier, DataCloneError, ERRORS, Interfaces, pack, symbols }
