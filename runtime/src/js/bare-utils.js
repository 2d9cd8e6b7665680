// bare-utils 1.6: Node's `util`, as far as Bare has it.

const { TextEncoder, TextDecoder } = require('bare-encoding')

exports.TextEncoder = TextEncoder
exports.TextDecoder = TextDecoder
exports.format = require('bare-format')
exports.formatWithOptions = exports.format.formatWithOptions
exports.inspect = require('bare-inspect')
exports.types = require('bare-utils/types')

exports.inherits = function inherits(ctor, superCtor) {
  if (superCtor) Object.setPrototypeOf(ctor.prototype, superCtor.prototype)
}

exports.promisify = function promisify(fn) {
  return function (...args) {
    return new Promise((resolve, reject) => {
      fn.call(this, ...args, (err, value) => {
        if (err) reject(err)
        else resolve(value)
      })
    })
  }
}

exports.deprecate = function deprecate(fn, message, code) {
  let warned = false
  return function (...args) {
    if (!warned) {
      warned = true
      if (code) console.warn(`[${code}]`, 'DeprecationWarning:', message)
      else console.warn('DeprecationWarning:', message)
    }
    return new.target ? Reflect.construct(fn, args, new.target) : fn.apply(this, args)
  }
}

const escapes = require('bare-ansi-escapes')

exports.styleText = function styleText(styles, text) {
  const codes = [styles].flat().map((style) => {
    const name = style[0].toUpperCase() + style.slice(1)
    return escapes['color' + name] || escapes['modifier' + name] || ''
  })
  return codes.join('') + text + escapes.modifierReset
}

exports.debuglog = function debuglog(section) {
  const { getEnv, pid } = require('bare-os')
  section = section.toUpperCase()
  const wanted = (getEnv('BARE_DEBUG') || getEnv('NODE_DEBUG') || '').toUpperCase().split(',')
  const enabled = wanted.some((name) => {
    return name.endsWith('*') ? section.startsWith(name.slice(0, -1)) : name === section
  })
  const debug = (...args) => {
    if (enabled) console.error('%s %s:', section, pid(), ...args)
  }
  debug.enabled = enabled
  return debug
}
