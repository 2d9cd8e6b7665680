// The functions of the Rust core. What they work on are numbers; a number lives as long as the object that owns it, or until it is let go.

const finalization = new FinalizationRegistry((id) => native.letGo(id))

// Ties a number to an object. Returns the number.
native.own = function own (object, id) {
  finalization.register(object, id, object)
  return id
}

// Lets a number go before its object does.
native.disown = function disown (object, id) {
  finalization.unregister(object)
  native.letGo(id)
}

native.noop = function noop () {}

module.exports = native
