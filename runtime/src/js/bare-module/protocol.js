// Where modules come from: another place than the disk is a protocol with methods of its own.

const METHODS = ['preresolve', 'postresolve', 'resolve', 'exists', 'read', 'addon', 'asset']

module.exports = class ModuleProtocol {
  constructor (methods = {}, context = null) {
    for (const name of METHODS) {
      if (typeof methods[name] === 'function') {
        this[name] = context ? methods[name].bind(this, context) : methods[name].bind(this)
      } else if (context && typeof context[name] === 'function') {
        this[name] = context[name]
      }
    }
  }

  preresolve (specifier, parentURL) {
    return specifier
  }

  postresolve (url) {
    return url
  }

  * resolve (specifier, parentURL, imports) {}

  exists (url, type) {
    return false
  }

  read (url) {
    return null
  }

  addon (url) {
    return url
  }

  asset (url) {
    return url
  }

  extend (methods) {
    return new ModuleProtocol(methods, this)
  }
}
