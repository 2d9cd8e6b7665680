// bare-structured-clone 2.0: copies of values, with references, cycles and transferred buffers.
//
// Serializing makes a copy that nobody else holds; deserializing makes a copy of that.

const { Copier, DataCloneError, Interfaces, pack, symbols } = require('bare-structured-clone/copier')

class Serialized {
  constructor(value) {
    this.value = value
  }
}

function serialize(value, { transfer = [], interfaces, forStorage }) {
  const copier = new Copier({ interfaces: new Interfaces(interfaces), forStorage })
  return new Serialized(pack(copier, value, transfer))
}

function unpack(serialized, interfaces) {
  if (!(serialized instanceof Serialized)) {
    throw DataCloneError.INVALID_TYPE('Value was not serialized')
  }
  const copier = new Copier({ interfaces: new Interfaces(interfaces), unpack: true })
  return copier.copy(serialized.value)
}

module.exports = exports = function structuredClone(value, { transfer = [], interfaces = [] } = {}) {
  const serialized = serialize(value, { transfer, interfaces })
  // Nothing of a program's own is in there: what was copied once is the copy.
  return interfaces.length === 0 ? serialized.value : unpack(serialized, interfaces)
}

exports.structuredClone = exports
exports.errors = DataCloneError
exports.symbols = symbols

exports.serialize = function (value, forStorage = false, interfaces = []) {
  return serialize(value, { forStorage, interfaces })
}

exports.serializeWithTransfer = function (value, transfer = [], interfaces = []) {
  return serialize(value, { transfer, interfaces })
}

exports.deserialize = exports.deserializeWithTransfer = function (serialized, interfaces = []) {
  return unpack(serialized, interfaces)
}

exports.Serializable = class Serializable {
  [symbols.serialize]() {}

  static [symbols.deserialize]() {}
}

exports.Transferable = class Transferable {
  constructor() {
    this.detached = false
  }

  [symbols.detach]() {
    this.detached = true
  }

  static [symbols.attach]() {}
}
