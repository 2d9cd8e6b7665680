// Corestores of the Rust core under the face of npm corestore 7.12.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const keys = require('hypercore-id-encoding')
const { protocolStream, attach } = require('pome-core/wire')
const Hypercore = require('hypercore')
const { Readable } = require('streamx')

// What is not npm's `get` options, but says which core.
const NAMES = ['name', 'key', 'discoveryKey', 'keyPair', 'manifest', 'preload']

class Corestore extends Resource {
  constructor (storage, options = {}) {
    super()
    if (storage && typeof storage === 'object' && !storage.path) {
      options = storage
      storage = options.storage
    }
    this.storage = typeof storage === 'object' && storage !== null ? storage : { path: storage }
    this.root = options[ROOT] || this
    this.readOnly = options.writable === false || !!options.readOnly
    this.active = options.active !== false
    this.globalCache = options.globalCache || null
    this.sessions = new Set()
    this.corestores = new Set()
    this.primaryKey = options.primaryKey || null
    this.ns = options.namespace || null
    this.manifestVersion = options.manifestVersion === undefined ? 1 : options.manifestVersion
    this.shouldSuspend = options.suspend !== false
    this.watchers = new Set()
    this._options = options
    this._handle = 0
    this._watching = 0
    this._finding = []
    if (this.root !== this) this.root.corestores.add(this)
    this.ready().catch(core.noop)
  }

  async _open () {
    const options = this._options
    const parent = options[PARENT]
    if (parent) {
      await parent.ready()
      this._handle = core.own(this, core.storeView(parent._handle, { name: options[NAME] }))
    } else {
      if (this.primaryKey !== null && !options.unsafe) throw failure('ERR_ASSERTION', 'a primary key needs the option unsafe: true')
      if (typeof this.storage.path !== 'string') throw failure('BAD_ARGUMENT', 'a Corestore needs a folder')
      const { primaryKey, manifestVersion, namespace, createIfMissing } = options
      const handle = await core.storeOpen(this.storage.path, {
        primaryKey, manifestVersion, namespace, createIfMissing, writable: !this.readOnly, active: this.active
      })
      this._handle = core.own(this, handle)
    }
    const facts = core.storeFacts(this._handle)
    this.primaryKey = facts.primaryKey
    this.ns = facts.namespace
    if (this.watchers.size > 0) this._watch()
  }

  async _close () {
    this.root.corestores.delete(this)
    if (this._watching !== 0) core.letGo(this._watching)
    this._watching = -1
    const closing = []
    if (this.root === this) for (const store of this.corestores) closing.push(store.close())
    for (const session of this.sessions) closing.push(session.close())
    await Promise.allSettled(closing)
    if (this._handle !== 0) await core.storeClose(this._handle)
  }

  _check () {
    if (this.closing !== null || this.root.closing !== null) throw new Error('The corestore is closed')
  }

  get (options) {
    this._check()
    let wanted = options
    if (typeof wanted === 'string' || ArrayBuffer.isView(wanted)) wanted = { key: wanted }
    if (!wanted || !NAMES.some((name) => wanted[name])) {
      if (!wanted || wanted.publicKey === undefined) throw new Error('Could not derive discovery from input')
      wanted = { ...wanted, key: wanted.publicKey }
    }
    const session = new Hypercore({
      globalCache: this.globalCache,
      ...wanted,
      writable: wanted.writable === undefined && this.readOnly ? false : wanted.writable,
      active: wanted.active === undefined ? this.active : wanted.active,
      [Hypercore.STORE]: this
    })
    this.sessions.add(session)
    session.once('close', () => this.sessions.delete(session))
    return session
  }

  session (options = {}) {
    this._check()
    return new Corestore(this.storage, { ...options, [ROOT]: this.root, [PARENT]: this.root })
  }

  namespace (name, options = {}) {
    this._check()
    return new Corestore(this.storage, { ...options, [ROOT]: this.root, [PARENT]: this, [NAME]: typeof name === 'string' ? name : Buffer.from(name) })
  }

  replicate (initiator, options = {}) {
    this._check()
    const stream = protocolStream(initiator, options)
    const join = () => attach(stream, this.root._handle, {})
    if (this.opened) join()
    else this.ready().then(join, core.noop)
    return stream
  }

  list (namespace) {
    const store = this
    let all = null
    return new Readable({
      read (done) {
        store.ready().then(() => {
          if (all === null) all = core.storeList(store._handle, !!namespace)
          this.push(all.length === 0 ? null : all.shift())
          done(null)
        }, done)
      }
    })
  }

  async getAuth (discoveryKey) {
    await this.ready()
    return core.storeAuth(this._handle, keys.decode(discoveryKey))
  }

  async createKeyPair (name, ns) {
    await this.ready()
    return core.storeKeyPair(this._handle, name, ns || null)
  }

  watch (listener) {
    this.watchers.add(listener)
    if (this._handle !== 0) this._watch()
  }

  unwatch (listener) {
    this.watchers.delete(listener)
  }

  _watch () {
    if (this._watching !== 0) return
    this._watching = core.storeWatch(this._handle)
    const hear = () => {
      core.storeWatched(this._watching, (error, discoveryKey) => {
        if (error || discoveryKey === null || this._watching === -1) return
        hear()
        for (const listener of [...this.watchers]) listener({ discoveryKey, key: (core.storeAuth(this._handle, discoveryKey) || {}).key })
      })
    }
    hear()
  }

  findingPeers () {
    let id = 0
    let done = false
    const start = () => { if (!done) id = core.storeFindingPeers(this._handle) }
    if (this.opened) start()
    else this.ready().then(start, core.noop)
    return () => {
      done = true
      if (id !== 0) core.letGo(id)
      id = 0
    }
  }

  async suspend () {
    await this.ready()
    if (!this.shouldSuspend) return
    await core.storeSuspend(this._handle)
  }

  async resume () {
    await this.ready()
    await core.storeResume(this._handle)
  }

  static isCorestore (value) {
    return value instanceof Corestore
  }
}

const ROOT = Symbol('pome.root')
const PARENT = Symbol('pome.parent')
const NAME = Symbol('pome.name')

function failure (code, message) {
  const error = new Error(code + ': ' + message)
  error.code = code
  return error
}

module.exports = Corestore
module.exports.default = Corestore
