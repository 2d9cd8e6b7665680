// `Bare.Addon`: native code of others is looked for and never loaded; what it would do, modules of the runtime's own do. After bare-addon-resolve 1.10.

const { ModuleError } = require('bare-module/errors')

class AddonError extends Error {
  constructor (code, message) {
    super(`${code}: ${message}`)
    this.code = code
  }

  get name () {
    return 'AddonError'
  }
}

class AddonResolveError extends AddonError {
  get name () {
    return 'AddonResolveError'
  }
}

// The package that has it, and the profile of the program.
function why (href) {
  const found = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(href)
  const owner = found === null ? 'native addons are not loaded' : `native addons are not loaded, and the package '${found[1]}' is none of the runtime's own`
  return `${owner} (profile ${native.profile()})`
}

const PROTOCOLS = ['builtin:', 'linked:', 'file:']

// Where an addon may be: `found`, or all that was looked at.
class Search {
  constructor ({ hosts = [Addon.host], extensions = ['.bare', '.node'], linked = true }) {
    this.hosts = hosts
    this.extensions = extensions
    this.linked = linked
    this.candidates = []
    this.found = null
    this.fs = require('bare-fs')
    this.toPath = require('bare-url').fileURLToPath
  }

  run (specifier, parent) {
    if (URL.canParse(specifier)) return this._take(new URL(specifier))
    const at = specifier.lastIndexOf('@')
    let version = null
    if (at > 0 && /^\d+\.\d+\.\d+/.test(specifier.slice(at + 1))) {
      version = specifier.slice(at + 1)
      specifier = specifier.slice(0, at)
    }
    if (/^(\.\.?$|\.\.?[/\\]|[/\\])/.test(specifier)) {
      return this._file(specifier, parent) || this._folder(new URL(specifier.endsWith('/') ? specifier : specifier + '/', parent), version)
    }
    return this._package(specifier, version, parent)
  }

  _package (specifier, version, parent) {
    const [, name, rest] = /^((?:@[^/]*\/)?[^/]*)(.*)$/.exec(specifier)
    if (name === '' || name[0] === '.' || /[\\%]/.test(name) || (name[0] === '@' && !name.includes('/'))) {
      throw new AddonResolveError('INVALID_ADDON_SPECIFIER', `Addon specifier '${specifier}' is not a valid package name`)
    }
    const below = `.${rest}/`
    for (const scope of above(parent)) {
      const info = this._info(scope)
      if (info === null) continue
      if (info.name === name) return this._folder(new URL(below, scope), version)
      break
    }
    for (const folder of above(parent)) {
      const root = new URL(`node_modules/${name}/`, folder)
      if (this._info(root) !== null) return this._folder(new URL(below, root), version)
    }
    return false
  }

  // What a package brings along.
  _folder (folder, version) {
    const info = this._info(folder)
    if (info === null || typeof info.name !== 'string' || info.name === '') return false
    if (info.name.includes('__')) throw new AddonResolveError('INVALID_PACKAGE_NAME', `Package name '${info.name}' is invalid`)
    const name = info.name.replace(/\//g, '__').replace(/^@/, '')
    const isAny = version === null
    if (typeof info.version === 'string' && info.version !== '') {
      if (version !== null && version !== info.version) return false
      version = info.version
    }
    for (const scope of above(folder)) {
      for (const host of this.hosts) {
        const prebuilds = new URL(`prebuilds/${host}/`, scope)
        if (version !== null && this._file(`./${name}@${version}`, prebuilds)) return true
        if (isAny && this._file(`./${name}`, prebuilds)) return true
      }
    }
    if (this.linked) {
      if (version !== null) this.candidates.push(new URL(`linked:lib${name}.${version}.so`))
      this.candidates.push(new URL(`linked:lib${name}.so`))
    }
    return false
  }

  _file (path, parent) {
    if (/(^\.\.?|[/\\])$/.test(path)) return false
    if (parent.protocol === 'file:' && /%2f|%5c/i.test(path)) {
      throw new AddonResolveError('INVALID_ADDON_SPECIFIER', `Addon specifier '${path}' is invalid`)
    }
    return this.extensions.some((extension) => this._take(new URL(path.endsWith(extension) ? path : path + extension, parent)))
  }

  _take (url) {
    this.candidates.push(url)
    if (!this._read(url, (path) => this.fs.statSync(path).isFile())) return false
    this.found = url
    return true
  }

  _info (folder) {
    return this._read(new URL('package.json', folder), (path) => JSON.parse(this.fs.readFileSync(path, 'utf8')))
  }

  // Null where there is nothing, and where the program may not look.
  _read (url, read) {
    if (url.protocol !== 'file:') return null
    try {
      return read(this.toPath(url))
    } catch {
      return null
    }
  }
}

// The folders from here to the root.
function * above (url) {
  let folder = new URL('.', url)
  while (true) {
    yield folder
    const next = new URL('..', folder)
    if (next.href === folder.href) return
    folder = next
  }
}

class Addon {
  static host = `${native.platform}-${native.arch}`
  static cache = Object.create(null)

  constructor (url) {
    const href = String(url.href || url)
    const protocol = /^[a-z][a-z0-9+.-]*:/i.exec(href)
    if (protocol !== null && !PROTOCOLS.includes(protocol[0])) {
      throw new AddonError('UNKNOWN_PROTOCOL', `Unknown protocol '${protocol[0]}' for addon '${href}'`)
    }
    throw new AddonError('CANNOT_LOAD', `Cannot load addon '${href}': ${why(href)}`)
  }

  static load (url) {
    return new Addon(url)
  }

  static resolve (specifier, parentURL, opts = {}) {
    const parent = new URL(String(parentURL.href || parentURL))
    const search = new Search(opts)
    search.run(String(specifier), parent)
    if (search.found !== null) return search.found
    const { candidates } = search
    const list = candidates.length === 0 ? '' : '\nCandidates:\n' + candidates.map(({ href }) => `- ${href}`).join('\n')
    const error = new ModuleError('ADDON_NOT_FOUND', `Cannot find addon '${specifier}' imported from '${parent.href}': ${why(parent.href)}${list}`)
    error.specifier = specifier
    error.referrer = parent
    error.candidates = candidates
    throw error
  }
}

module.exports = Addon
