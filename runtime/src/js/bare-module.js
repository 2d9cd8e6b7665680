// bare-module 6.4: how modules are found, loaded and run. Finding is native (`native.resolve`); so is the linking of ES modules, which asks the hooks
// at the end of this file. Inside, a URL is its href.

const { ModuleError, ModuleResolveError } = require('bare-module/errors')
const Protocol = require('bare-module/protocol')

const constants = {
  states: { EVALUATED: 1, SYNTHESIZED: 2, RUN: 4 },
  types: { SCRIPT: 1, MODULE: 2, JSON: 3, BUNDLE: 4, ADDON: 5, BINARY: 6, TEXT: 7, ASSET: 8 }
}

const { SCRIPT, MODULE, JSON: JSON_TYPE, BUNDLE, ADDON, BINARY, TEXT } = constants.types
const { EVALUATED, SYNTHESIZED, RUN } = constants.states

const typeOfAttribute = {
  __proto__: null,
  script: SCRIPT,
  module: MODULE,
  json: JSON_TYPE,
  bundle: BUNDLE,
  addon: ADDON,
  binary: BINARY,
  text: TEXT
}

const typeOfExtension = {
  __proto__: null,
  '.cjs': SCRIPT,
  '.cts': SCRIPT,
  '.mjs': MODULE,
  '.mts': MODULE,
  '.json': JSON_TYPE,
  '.bundle': BUNDLE,
  '.bare': ADDON,
  '.node': ADDON,
  '.bin': BINARY,
  '.txt': TEXT
}

// Modules by href, for what the engine knows them by.
const registry = new Map()
const cache = Object.create(null)
const urls = new Map()

// URL objects are for programs; most never ask for one.
function toURL (href) {
  let url = urls.get(href)
  if (url === undefined) urls.set(href, url = new URL(href))
  return url
}

// Bytes are Buffers from when there is one; the global is what loads it.
function toBuffer (bytes) {
  return globalThis.Buffer ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes
}

function hrefOf (value, base) {
  if (typeof value === 'object' && value !== null && typeof value.href === 'string') return value.href
  return native.toHref(String(value), base)
}

function typeOfAttributes (attributes) {
  if (typeof attributes !== 'object' || attributes === null) return 0
  return typeOfAttribute[attributes.type] || 0
}

class Module {
  static get [Symbol.for('bare.module.kind')] () {
    return 1
  }

  constructor (href) {
    this._href = href
    this._state = 0
    this._type = 0
    this._defaultType = 0
    this._main = null
    this._exports = null
    this._imports = null
    this._resolutions = null
    this._builtins = null
    this._conditions = null
    this._protocol = null
    this._cache = null
    this._source = null
    this._function = null
    this._names = null
    Object.preventExtensions(this)
  }

  get [Symbol.for('bare.module.kind')] () {
    return 1
  }

  get url () {
    return toURL(this._href)
  }

  get type () {
    return this._type
  }

  get defaultType () {
    return this._defaultType
  }

  get main () {
    return this._main
  }

  get exports () {
    return this._exports
  }

  set exports (value) {
    this._exports = value
  }

  get imports () {
    return this._imports
  }

  get resolutions () {
    return this._resolutions
  }

  get builtins () {
    return this._builtins
  }

  get conditions () {
    return Array.from(this._conditions || Module._conditions)
  }

  get protocol () {
    return this._protocol
  }

  get cache () {
    return this._cache
  }

  get filename () {
    return native.toPath(this._href)
  }

  get dirname () {
    return native.toDirname(this._href)
  }

  get id () {
    return this.filename
  }

  get path () {
    return this.dirname
  }

  _enter (isImport, isDynamicImport) {
    if (isImport || isDynamicImport) this._synthesize()
    else this._evaluate()
    return this
  }

  // What an `import` of a module that is no ES module finds in it, without running it.
  _synthesize () {
    if ((this._state & SYNTHESIZED) !== 0) return
    this._state |= SYNTHESIZED
    if (this._type === MODULE) return
    const names = new Set(['default'])
    const seen = new Set()
    const queue = [this]
    while (queue.length > 0) {
      const module = queue.pop()
      if (seen.has(module)) continue
      seen.add(module)
      if (module !== this && module._names !== null) {
        for (const name of module._names) names.add(name)
      } else if (module._type === SCRIPT) {
        const { exports, reexports } = native.lex(module._source)
        for (const name of exports) names.add(name)
        for (const specifier of reexports) {
          const href = resolve(specifier, module._href, { isImport: true, referrer: module })
          const other = load(href, { isImport: true, referrer: module })
          if (other._type === MODULE) for (const name of native.exportsOf(other._source)) names.add(name)
          queue.push(other)
        }
      } else {
        const exports = module._exports
        if ((typeof exports === 'object' && exports !== null) || typeof exports === 'function') {
          for (const name of Object.keys(exports)) names.add(name)
        }
      }
    }
    this._names = Array.from(names)
  }

  _evaluate () {
    if ((this._state & EVALUATED) !== 0) return
    this._state |= EVALUATED
    if (this._type === SCRIPT) {
      this._exports = {}
      const run = this._function
      run(createRequire(this._href, { module: this }), this, this._exports, this.filename, this.dirname)
      const adapter = native.adapter(this._href)
      if (adapter) this._exports = native.builtin(adapter)(this._exports)
    } else if (this._type === MODULE) {
      this._run()
    }
  }

  _run () {
    if ((this._state & RUN) === 0) this._state |= RUN
    this._exports = native.run(this._href)
  }

  [Symbol.for('bare.inspect')] () {
    return {
      __proto__: { constructor: Module },
      url: this.url,
      type: this.type,
      defaultType: this.defaultType,
      main: this.main,
      exports: this.exports,
      imports: this.imports,
      resolutions: this.resolutions,
      builtins: this.builtins,
      conditions: this.conditions
    }
  }

  static _conditions = ['bare', 'node', ...native.host.split('-')]

  static get cache () {
    return cache
  }

  static get protocol () {
    return protocol
  }

  static load (url, source = null, opts = {}) {
    if (!ArrayBuffer.isView(source) && typeof source !== 'string' && source !== null) {
      opts = source
      source = null
    }
    return load(hrefOf(url), { ...opts, source })
  }

  static resolve (specifier, parentURL, opts = {}) {
    return toURL(resolve(specifier, hrefOf(parentURL), opts))
  }

  static asset (specifier, parentURL, opts = {}) {
    return toURL(asset(specifier, hrefOf(parentURL), opts))
  }
}

const protocol = new Protocol({
  postresolve: (url) => toURL(native.realpath(url.href)),
  exists: (url, type = 0) => native.exists(url.href, type === constants.types.ASSET),
  read: (url) => toBuffer(native.readBytes(url.href))
})

function inherit (referrer) {
  return {
    defaultType: referrer ? referrer._defaultType : 0,
    cache: referrer ? referrer._cache : cache,
    main: referrer ? referrer._main : null,
    protocol: referrer ? referrer._protocol : protocol,
    imports: referrer ? referrer._imports : null,
    resolutions: referrer ? referrer._resolutions : null,
    builtins: referrer ? referrer._builtins : null,
    conditions: referrer ? referrer._conditions : Module._conditions
  }
}

// What the native resolver asks of files that are not on the disk.
function sourceOf (protocol) {
  if (protocol === Module.protocol) return null
  return {
    exists: (href, isAsset) => protocol.exists(new URL(href), isAsset ? constants.types.ASSET : 0) === true,
    read: (href) => Buffer.from(protocol.read(new URL(href))).toString()
  }
}

function resolve (specifier, parent, opts) {
  const type = opts.type || typeOfAttributes(opts.attributes)
  return find(specifier, parent, opts.isImport ? 'import' : 'require', type, opts)
}

function asset (specifier, parent, opts) {
  return find(specifier, parent, 'asset', constants.types.ASSET, opts)
}

function find (specifier, parent, kind, type, opts) {
  if (typeof specifier !== 'string') {
    throw new TypeError(`Specifier must be a string. Received type ${typeof specifier} (${String(specifier)})`)
  }
  const inherited = inherit(opts.referrer || null)
  const protocol = opts.protocol || inherited.protocol
  const imports = opts.imports || inherited.imports
  const resolutions = opts.resolutions || inherited.resolutions
  const builtins = opts.builtins || inherited.builtins
  const conditions = opts.conditions || inherited.conditions
  let source = null
  if (protocol !== Module.protocol) {
    specifier = protocol.preresolve(specifier, toURL(parent))
    const [resolution] = protocol.resolve(specifier, toURL(parent), imports)
    if (resolution) return protocol.postresolve(resolution).href
    source = sourceOf(protocol)
  }
  const found = native.resolve(specifier, parent, kind, type, {
    conditions: conditions === Module._conditions ? null : conditions,
    imports: imports === null ? null : JSON.stringify(imports),
    resolutions: resolutions === null ? null : JSON.stringify(resolutions),
    builtins: builtins === null ? null : Object.keys(builtins),
    source
  })
  if (typeof found === 'string') {
    if (source === null || found.startsWith('builtin:')) return found
    return protocol.postresolve(kind === 'asset' && protocol.asset ? protocol.asset(toURL(found)) : toURL(found)).href
  }
  if (found.code === 'SYNTAX_ERROR') throw new SyntaxError(found.message)
  if (found.code !== 'NOT_FOUND') throw new ModuleResolveError(found.code, found.message)
  const word = kind === 'asset' ? 'asset' : 'module'
  let message = `Cannot find ${word} '${specifier}' imported from '${parent}'`
  if (found.candidates.length > 0) message += '\nCandidates:\n' + found.candidates.map((href) => `- ${href}`).join('\n')
  const error = new ModuleError(kind === 'asset' ? 'ASSET_NOT_FOUND' : 'MODULE_NOT_FOUND', message)
  error.specifier = specifier
  error.referrer = globalThis.URL ? toURL(parent) : parent
  error.candidates = globalThis.URL ? found.candidates.map(toURL) : found.candidates
  throw error
}

function load (href, opts = {}) {
  const referrer = opts.referrer || null
  const inherited = inherit(referrer)
  const {
    isImport = false,
    isDynamicImport = false,
    attributes,
    source = null,
    type = typeOfAttributes(attributes),
    defaultType = inherited.defaultType,
    cache = inherited.cache,
    main = inherited.main,
    protocol = inherited.protocol,
    imports = inherited.imports,
    resolutions = inherited.resolutions,
    builtins = inherited.builtins,
    conditions = inherited.conditions
  } = opts

  const known = cache[href]
  if (known !== undefined) {
    if (type !== 0 && type !== known._type) {
      const name = Object.keys(typeOfAttribute).find((name) => typeOfAttribute[name] === type)
      throw new ModuleError('TYPE_INCOMPATIBLE', `Module '${href}' is not of type '${name}'`)
    }
    return known._enter(isImport, isDynamicImport)
  }

  const module = cache[href] = new Module(href)
  registry.set(href, module)
  try {
    module._cache = cache
    module._protocol = protocol
    module._conditions = conditions
    if (href.startsWith('builtin:')) {
      const name = href.slice('builtin:'.length)
      module._exports = builtins !== null && name in builtins ? builtins[name] : native.builtin(name)
      module._state |= EVALUATED
    } else {
      module._defaultType = defaultType
      module._main = main || module
      module._imports = imports
      module._resolutions = resolutions
      module._builtins = builtins
      if (typeof attributes === 'object' && attributes !== null && typeof attributes.imports === 'string') {
        module._imports = mixin(imports, attributes.imports, referrer, module)
      }
      read(module, type || typeOf(module), source)
    }
    return module._enter(isImport, isDynamicImport)
  } catch (error) {
    delete cache[href]
    registry.delete(href)
    throw error
  }
}

// A map of imports that a whole subtree is loaded with.
function mixin (target, specifier, referrer, module) {
  const href = resolve(specifier, referrer ? referrer._href : module._href, { referrer: module })
  let imports = load(href, { referrer: module, type: JSON_TYPE })._exports
  if (typeof imports === 'object' && imports !== null && 'imports' in imports) imports = imports.imports
  if (typeof imports !== 'object' || imports === null) {
    throw new ModuleError('INVALID_IMPORTS_MAP', `Imports map at '${href}' is not valid`)
  }
  return { ...target, ...imports }
}

function typeOf (module) {
  const extension = native.extension(module._href)
  const type = typeOfExtension[extension]
  if (type !== undefined) return type
  if (extension !== '.js' && extension !== '.ts' && module._defaultType !== 0) return module._defaultType
  if (module._defaultType === MODULE) return MODULE
  return native.packageType(module._href, sourceOf(module._protocol)) === 'module' ? MODULE : SCRIPT
}

function isTypeScript (href) {
  const extension = native.extension(href)
  return extension === '.ts' || extension === '.mts' || extension === '.cts'
}

function read (module, type, source) {
  module._type = type
  const href = module._href
  const isText = type === SCRIPT || type === MODULE || type === JSON_TYPE || type === TEXT
  if (type === ADDON) {
    module._exports = Bare.Addon.load(module.url, { referrer: module }).exports
    return
  }
  if (source === null) {
    if (module._protocol !== Module.protocol) source = module._protocol.read(module.url)
    else source = isText ? native.readText(href) : toBuffer(native.readBytes(href))
  }
  if (isText && typeof source !== 'string') source = Buffer.from(source).toString()
  if (!isText && typeof source === 'string') source = Buffer.from(source)
  if ((type === SCRIPT || type === MODULE) && isTypeScript(href)) source = native.stripTypes(source)
  switch (type) {
    case SCRIPT:
      module._source = source
      module._function = native.compile(href, source)
      break
    case MODULE:
      module._source = source
      break
    case JSON_TYPE:
      module._exports = JSON.parse(source)
      break
    case BUNDLE:
      require('bare-module/bundle')(module, source, load)
      break
    default:
      module._exports = source
  }
}

function createRequire (parentURL, opts = {}) {
  let module = opts.module || null
  if (module === null) {
    const inherited = inherit(opts.referrer || null)
    module = new Module(hrefOf(parentURL))
    module._type = opts.type || SCRIPT
    module._defaultType = opts.defaultType || inherited.defaultType || SCRIPT
    module._cache = opts.cache || inherited.cache
    module._main = opts.main || inherited.main || module
    module._protocol = opts.protocol || inherited.protocol
    module._imports = opts.imports || inherited.imports
    module._resolutions = opts.resolutions || inherited.resolutions
    module._builtins = opts.builtins || inherited.builtins
    module._conditions = opts.conditions || inherited.conditions
  }

  const parent = module._href

  function require (specifier, opts = {}) {
    const attributes = opts && opts.with
    return load(resolve(specifier, parent, { referrer: module, attributes }), { referrer: module, attributes })._exports
  }

  require.main = module._main
  require.cache = module._cache

  require.resolve = function (specifier, parentURL = parent) {
    return native.toPath(resolve(specifier, hrefOf(parentURL, parent), { referrer: module }))
  }

  require.addon = addonOf(module, (href) => native.toPath(href))

  require.asset = function (specifier, parentURL = parent) {
    return native.toPath(asset(specifier, hrefOf(parentURL, parent), { referrer: module }))
  }

  return require
}

function addonOf (module, present) {
  function addon (specifier = '.', parentURL = module._href) {
    const url = Bare.Addon.resolve(specifier || '.', toURL(hrefOf(parentURL, module._href)), { linked: false })
    return Bare.Addon.load(url, { referrer: module }).exports
  }
  addon.host = native.host
  addon.resolve = function (specifier = '.', parentURL = module._href) {
    return present(Bare.Addon.resolve(specifier || '.', toURL(hrefOf(parentURL, module._href)), { linked: false }).href)
  }
  return addon
}

native.setHooks({
  // An `import` of any kind: finds the module and reads it, so that the engine can link it.
  import (parent, specifier, attributes) {
    const referrer = registry.get(parent) || null
    const href = resolve(specifier, referrer ? referrer._href : native.toHref(parent || './'), {
      isImport: true,
      referrer,
      attributes
    })
    load(href, { isImport: true, referrer, attributes })
    return href
  },

  // What the engine makes of it: the source of an ES module, or the names that another one exports.
  link (href) {
    const module = registry.get(href)
    if (module === undefined) throw new ModuleError('MODULE_NOT_FOUND', `Cannot find module '${href}'`)
    return module._type === MODULE ? module._source : module._names
  },

  // It cannot be linked after all.
  unlink (href) {
    const module = registry.get(href)
    if (module === undefined) return
    registry.delete(href)
    delete module._cache[href]
  },

  // The values of the names, once they are wanted.
  evaluate (href) {
    const module = registry.get(href)
    module._evaluate()
    const exports = module._exports
    const isObject = typeof exports === 'object' && exports !== null
    return module._names.map((name) => {
      if (name === 'default') return isObject && 'default' in exports ? exports.default : exports
      return exports === null || exports === undefined ? undefined : exports[name]
    })
  },

  meta (href, meta) {
    const module = registry.get(href)
    if (module === undefined) return
    meta.url = href
    meta.main = module._main === module
    meta.cache = module._cache
    meta.dirname = module.dirname
    meta.filename = module.filename
    meta.resolve = function (specifier, parentURL = href) {
      return resolve(specifier, hrefOf(parentURL, href), { referrer: module })
    }
    meta.addon = addonOf(module, (href) => href)
    meta.asset = function (specifier, parentURL = href) {
      return asset(specifier, hrefOf(parentURL, href), { referrer: module })
    }
  },

  // The program itself; `specifier` is what was typed.
  main (specifier) {
    const app = /^(pear:\/\/[^/]+\/)(.*)$/.exec(specifier)
    if (app !== null) {
      // A file of the app that this is, in its drive.
      const href = resolve('./' + app[2], app[1], { isImport: true })
      Bare.argv[1] = href
      load(href)
      return
    }
    const folder = native.toHref('./')
    const isPath = /^(\.{0,2}\/|\.{1,2}$)/.test(specifier) || /^[a-z][a-z0-9+.-]+:/.test(specifier)
    const href = resolve(isPath ? specifier : native.toPath(native.toHref('./' + specifier)), folder, { isImport: true })
    if (href.startsWith('file:')) Bare.argv[1] = native.toPath(href)
    load(href)
  },

  // The program of a thread.
  thread (specifier, source) {
    const href = native.toHref(specifier)
    if (source !== null && source !== undefined) load(href, { source })
    else if (href.startsWith('pear:')) load(resolve(href, href, { isImport: true }))
    else load(resolve(native.toPath(href), native.toHref('./'), { isImport: true }))
  },

  // A program that was given as text.
  script (source, print) {
    const href = native.toHref('./__eval__.cjs')
    const module = load(href, { source: print ? `module.exports = eval(${JSON.stringify(source)})` : source, type: SCRIPT })
    if (print) console.log(module._exports)
  }
})

module.exports = exports = Module

exports.Protocol = Protocol
exports.constants = constants
exports.createRequire = createRequire
exports.builtinModules = []
exports.isBuiltin = () => false
