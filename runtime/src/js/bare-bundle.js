// bare-bundle 1.11: files in one, with what their modules ask each other for.
//
//   #! line, if any
//   <decimal length of the JSON and the two newlines around it>
//   <JSON: version, id, main, imports, resolutions, addons, assets, files { offset, length, mode }>
//   <the files, one after another in the order of the header>

const KIND = Symbol.for('bare.bundle.kind')
const INSPECT = [Symbol.for('bare.inspect'), Symbol.for('nodejs.util.inspect.custom')]
const VERSION = 0

class BundleError extends Error {
  constructor (code, message, cause) {
    super(`${code}: ${message}`, { cause })
    this.code = code
  }

  get name () {
    return 'BundleError'
  }

  static INVALID_BUNDLE_HEADER (message, cause) {
    return new BundleError('INVALID_BUNDLE_HEADER', message, cause)
  }

  static DUPLICATE_FILE (message, cause) {
    return new BundleError('DUPLICATE_FILE', message, cause)
  }
}

function inspectable (constructor, describe) {
  const inspect = function () {
    return { __proto__: { constructor }, ...describe(this) }
  }
  for (const name of ['inspect', ...INSPECT]) {
    Object.defineProperty(constructor.prototype, name, { value: inspect, configurable: true, writable: true })
  }
}

class MemoryFile {
  constructor (data, { executable = false, mode = executable ? 0o755 : 0o644 } = {}) {
    this._data = typeof data === 'string' ? Buffer.from(data) : data
    this._mode = mode
  }

  size () {
    return this._data.byteLength
  }

  mode () {
    return this._mode
  }

  read () {
    return this._data
  }
}

inspectable(MemoryFile, (file) => ({ data: file._data, mode: file._mode.toString(8) }))

class Bundle {
  static [KIND] = VERSION

  static version = VERSION

  constructor ({ File = MemoryFile } = {}) {
    this._File = File
    this._id = null
    this._root = null
    this._main = null
    this._imports = {}
    this._resolutions = {}
    this._addons = []
    this._assets = []
    this._files = new Map()
  }

  get [KIND] () {
    return VERSION
  }

  get version () {
    return VERSION
  }

  get id () {
    return this._id
  }

  set id (id) {
    this._id = textOrNull(id, 'ID')
  }

  get root () {
    return this._root
  }

  get main () {
    return this._main
  }

  set main (main) {
    this._main = textOrNull(main, 'Main')
  }

  get imports () {
    return this._imports
  }

  set imports (imports) {
    this._imports = importsOf(imports)
  }

  get resolutions () {
    return this._resolutions
  }

  set resolutions (resolutions) {
    this._resolutions = resolutionsOf(resolutions)
  }

  get addons () {
    return this._addons
  }

  set addons (addons) {
    this._addons = names(addons, 'Addons')
  }

  get assets () {
    return this._assets
  }

  set assets (assets) {
    this._assets = names(assets, 'Assets')
  }

  get files () {
    return Object.fromEntries(this._files)
  }

  * [Symbol.iterator] () {
    for (const [key, file] of this._files) yield [key, file.read(), file.mode()]
  }

  empty () {
    return this._files.size === 0
  }

  keys () {
    return this._files.keys()
  }

  exists (key) {
    return this._files.has(key)
  }

  size (key) {
    return this._files.get(key)?.size() ?? 0
  }

  mode (key) {
    return this._files.get(key)?.mode() ?? 0
  }

  read (key) {
    return this._files.get(key)?.read() ?? null
  }

  write (key, data, opts = {}) {
    if (typeof key !== 'string') throw wrong('File path must be a string', key)
    const { main = false, alias = null, imports = null, addon = false, asset = false } = opts
    this._files.set(key, new MemoryFile(data, opts))
    if (main) this._main = key
    if (alias) this._imports[alias] = key
    if (imports) this._resolutions[key] = importsOf(imports)
    if (addon) this._addons.push(key)
    if (asset) this._assets.push(key)
    return this
  }

  mount (root, opts = {}) {
    const bundle = this._renamed(root, opts, mount)
    bundle._root = typeof root === 'string' ? root : root.href
    return bundle
  }

  unmount (root, opts = {}) {
    return this._renamed(root, opts, unmount)
  }

  // A copy with other names for everything that is in it.
  _renamed (root, { conditions = {} }, rename) {
    const bundle = new Bundle({ File: this._File })
    const plain = (name) => rename(name, root)
    // What a condition leads to may be elsewhere.
    const renameAll = (imports, below) => {
      const renamed = {}
      for (const [name, to] of Object.entries(imports)) {
        const base = below || conditions[name]
        renamed[name] = typeof to === 'string' ? rename(to, base || conditions.default || root) : renameAll(to, base)
      }
      return renamed
    }
    bundle._id = this._id
    if (this._main) bundle._main = plain(this._main)
    bundle._imports = renameAll(this._imports, null)
    for (const [name, imports] of Object.entries(this._resolutions)) {
      bundle._resolutions[plain(name)] = renameAll(imports, null)
    }
    for (const [key, file] of this._files) {
      const name = plain(key)
      if (bundle._files.has(name)) throw BundleError.DUPLICATE_FILE(`File '${key}' would overwrite '${name}'`)
      bundle._files.set(name, file)
    }
    bundle._addons = this._addons.map(plain)
    bundle._assets = this._assets.map(plain)
    return bundle
  }

  toBuffer ({ indent = 0, shared = false } = {}) {
    const files = {}
    const keys = [...this._files.keys()].sort()
    let offset = 0
    for (const key of keys) {
      const length = this.size(key)
      files[key] = { offset, length, mode: this.mode(key) }
      offset += length
    }
    const header = {
      version: VERSION,
      id: this._id,
      main: this._main,
      imports: importsOf(this._imports),
      resolutions: resolutionsOf(this._resolutions),
      addons: names(this._addons, 'Addons'),
      assets: names(this._assets, 'Assets'),
      files
    }
    const json = Buffer.from(`\n${JSON.stringify(header, null, indent)}\n`)
    const parts = [Buffer.from(String(json.byteLength)), json, ...keys.map((key) => this.read(key))]
    const total = parts.reduce((sum, part) => sum + part.byteLength, 0)
    const buffer = Buffer.from(shared ? new SharedArrayBuffer(total) : new ArrayBuffer(total))
    let at = 0
    for (const part of parts) {
      buffer.set(part, at)
      at += part.byteLength
    }
    return buffer
  }

  static isBundle (value) {
    return value instanceof Bundle || (typeof value === 'object' && value !== null && value[KIND] === VERSION)
  }

  static from (value) {
    if (typeof value === 'string') return parse(Buffer.from(value))
    return Buffer.isBuffer(value) ? parse(value) : value
  }
}

inspectable(Bundle, ({ version, id, main, imports, resolutions, addons, assets, files }) =>
  ({ version, id, main, imports, resolutions, addons, assets, files }))

Bundle.errors = BundleError
Bundle.Bundle = Bundle

function parse (bytes) {
  let start = 0
  if (bytes[0] === 0x23 && bytes[1] === 0x21) start = bytes.indexOf(0x0a) + 1
  let end = start
  while (bytes[end] >= 0x30 && bytes[end] <= 0x39) end++
  const length = parseInt(bytes.toString('utf8', start, end), 10)
  let header
  try {
    header = JSON.parse(bytes.toString('utf8', end, end + length))
  } catch (cause) {
    throw BundleError.INVALID_BUNDLE_HEADER('Invalid bundle header', cause)
  }
  const bundle = new Bundle()
  for (const field of ['id', 'main', 'imports', 'resolutions', 'addons', 'assets']) {
    if (header[field]) bundle[field] = header[field]
  }
  let at = end + length
  for (const [key, file] of Object.entries(header.files || {})) {
    bundle.write(key, bytes.subarray(at, at + file.length), { mode: file.mode || 0o644 })
    at += file.length
  }
  return bundle
}

function wrong (message, value) {
  return new TypeError(`${message}. Received type ${typeof value} (${value})`)
}

function textOrNull (value, name) {
  if (typeof value === 'string' || value === null) return value
  throw wrong(`${name} must be a string or null`, value)
}

function names (list, what) {
  if (!Array.isArray(list)) throw wrong(`${what} list must be an array`, list)
  for (const name of list) {
    if (typeof name !== 'string') throw wrong(`${what} entry must be a string`, name)
  }
  return [...list].sort()
}

function sorted (map) {
  return Object.entries(map).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

function isObject (value) {
  return typeof value === 'object' && value !== null
}

function importsOf (map) {
  if (!isObject(map)) throw wrong('Imports map must be an object', map)
  return Object.fromEntries(sorted(map).map(([name, to]) => [name, importOf(to)]))
}

// By condition, in the order that they are tried in.
function importOf (to) {
  if (typeof to === 'string') return to
  if (!isObject(to)) throw wrong('Imports map entry must be a string or object', to)
  return Object.fromEntries(Object.entries(to).map(([name, to]) => [name, importOf(to)]))
}

function resolutionsOf (map) {
  if (!isObject(map)) throw wrong('Resolutions map must be an object', map)
  return Object.fromEntries(sorted(map).map(([name, imports]) => [name, importsOf(imports)]))
}

const DRIVE_LETTER = /^[a-z][:|](?:$|[/\\?#])/i

// A path in the bundle becomes a URL below `root`; the name of a package stays.
function mount (name, root) {
  if (DRIVE_LETTER.test(name)) name = '/' + name
  if (name[0] === '/' || name[0] === '\\') name = '.' + name
  return name.startsWith('./') || name.startsWith('.\\') ? new URL(name, root).href : name
}

function unmount (href, root) {
  const url = new URL(href)
  if (typeof root === 'string') root = new URL(root)
  if (url.protocol !== root.protocol || url.host !== root.host) return url.href
  const path = parts(url)
  const above = parts(root)
  let same = 0
  while (same < path.length && path[same] === above[same]) same++
  return '/' + [...above.slice(same).fill('..'), ...path.slice(same)].join('/')
}

function parts (url) {
  const parts = url.pathname.split('/')
  if (parts[0] === '') parts.shift()
  if (parts[parts.length - 1] === '') parts.pop()
  return parts
}

module.exports = Bundle
