// bare-vm 1.0: scripts with globals of their own.

const Realm = require('bare-realm')

const realms = new WeakMap()

exports.createContext = function createContext() {
  const realm = new Realm()
  const context = realm.evaluate('globalThis')
  realms.set(context, realm)
  return context
}

exports.runInContext = function runInContext(code, context, opts = {}) {
  const realm = realms.get(context)
  if (realm === undefined) throw new TypeError('Context must be one that createContext() made')
  const { filename, offset = opts.lineOffset } = opts
  return realm.evaluate(code, { filename, offset })
}

exports.runInNewContext = function runInNewContext(code, opts) {
  return exports.runInContext(code, exports.createContext(), opts)
}
