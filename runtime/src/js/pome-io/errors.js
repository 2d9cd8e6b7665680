// Error classes as the bare-* packages have them: `CODE: words`, a `name`, and a static maker for each code.

module.exports = function errors(name, codes) {
  const type = class extends Error {
    constructor(message, maker, code = maker.name) {
      super(`${code}: ${message}`)
      this.code = code
      if (Error.captureStackTrace) Error.captureStackTrace(this, maker)
    }

    get name() {
      return name
    }
  }
  Object.defineProperty(type, 'name', { value: name })
  for (const code of codes) {
    const make = { [code]: (message = code, cause) => withCause(new type(message, make, code), cause) }[code]
    Object.defineProperty(type, code, { value: make, writable: true, configurable: true })
  }
  return type
}

function withCause(err, cause) {
  if (cause !== undefined) err.cause = cause
  return err
}
