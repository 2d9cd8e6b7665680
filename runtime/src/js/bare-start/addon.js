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

module.exports = class Addon {
  static host = `${native.platform}-${native.arch}`
  static cache = Object.create(null)

  constructor (url) {
    const error = new AddonError(
      'ADDON_NOT_FOUND',
      `Cannot load addon '${url.href || url}': native addons are not loaded; the package that it belongs to has to be one of the runtime's own`
    )
    error.specifier = String(url.href || url)
    error.candidates = []
    throw error
  }

  static load (url) {
    return new Addon(url)
  }

  static resolve (specifier, parentURL) {
    const error = new AddonError(
      'ADDON_NOT_FOUND',
      `Cannot find addon '${specifier}' imported from '${parentURL.href || parentURL}': native addons are not loaded`
    )
    error.specifier = specifier
    error.referrer = parentURL
    error.candidates = []
    throw error
  }
}
