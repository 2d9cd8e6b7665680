// What goes wrong with modules: while they are loaded, and while they are looked for.

exports.ModuleError = class ModuleError extends Error {
  constructor (code, message) {
    super(`${code}: ${message}`)
    this.code = code
  }

  get name () {
    return 'ModuleError'
  }
}

exports.ModuleResolveError = class ModuleResolveError extends Error {
  constructor (code, message) {
    super(`${code}: ${message}`)
    this.code = code
  }

  get name () {
    return 'ModuleResolveError'
  }
}
