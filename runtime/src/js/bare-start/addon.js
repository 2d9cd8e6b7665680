// `Bare.Addon`: native code of others is not loaded; what it would do, modules of the runtime's own do.

class AddonError extends Error {
  constructor (code, message) {
    super(`${code}: ${message}`)
    this.code = code
  }

  get name () {
    return 'AddonError'
  }
}

// The package that has it, and the profile of the program.
function why (href) {
  const found = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(href)
  const owner = found === null ? 'native addons are not loaded' : `native addons are not loaded, and the package '${found[1]}' is none of the runtime's own`
  return `${owner} (profile ${native.profile()})`
}

module.exports = class Addon {
  static host = `${native.platform}-${native.arch}`
  static cache = Object.create(null)

  constructor (url) {
    const error = new AddonError('ADDON_NOT_FOUND', `Cannot load addon '${url.href || url}': ${why(String(url.href || url))}`)
    error.specifier = String(url.href || url)
    error.candidates = []
    throw error
  }

  static load (url) {
    return new Addon(url)
  }

  static resolve (specifier, parentURL) {
    const from = String(parentURL.href || parentURL)
    const error = new AddonError('ADDON_NOT_FOUND', `Cannot find addon '${specifier}' imported from '${from}': ${why(from)}`)
    error.specifier = specifier
    error.referrer = parentURL
    error.candidates = []
    throw error
  }
}
