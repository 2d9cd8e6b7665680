// Hypercores of the Rust core under the face of npm hypercore 11.37.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const codec = require('pome-core/codec')
const keys = require('hypercore-id-encoding')
const Pulled = require('pome-core/pulled')
const { Writable } = require('streamx')
const Extension = require('hypercore/extension')
const { protocolStream, attach } = require('pome-core/wire')

// What the core itself tells; a session listens to it as soon as somebody listens to the session.
const TOLD = new Set([
  'append', 'truncate', 'peer-add', 'peer-remove', 'upload', 'download', 'remote-contiguous-length', 'manifest', 'verification-error',
  'invalid-request', 'conflict', 'recovered'
])

function failure (code, message) {
  const error = new Error(code + ': ' + message)
  error.code = code
  return error
}

class Download {
  constructor (session, range) {
    this._session = session
    this._destroyed = false
    this._id = 0
    this._opening = this._start(range)
    this._opening.catch(core.noop)
  }

  async _start (range) {
    await this._session.ready()
    if (this._destroyed) return
    let { start = 0, end, length, blocks, linear = false } = range
    if (end === undefined) end = length === undefined ? -1 : start + length
    this._id = core.own(this, core.coreDownload(this._session._handle, { start, end: end === -1 ? undefined : end, linear, blocks }))
  }

  async ready () {
    await this._opening
  }

  async done () {
    await this._opening
    if (this._destroyed) return false
    try {
      return await core.coreDownloaded(this._id)
    } catch (error) {
      if (this._destroyed) return false
      throw error
    }
  }

  downloaded () {
    return this.done()
  }

  destroy () {
    if (this._destroyed) return
    this._destroyed = true
    if (this._id !== 0) core.disown(this, this._id)
  }
}

// A folder of one Hypercore, shared by its sessions; closed with the last of them.
class Folder {
  constructor (path) {
    this.path = path
    this.sessions = 0
    this.handle = 0
  }

  async open (options) {
    this.handle = await core.storeOpen(this.path, options)
    return this.handle
  }

  release () {
    this.sessions--
    return this.sessions === 0 ? this.close() : null
  }

  async close () {
    if (this.handle === 0) return
    const handle = this.handle
    this.handle = 0
    await core.storeClose(handle)
    core.letGo(handle)
  }
}

class Hypercore extends Resource {
  constructor (storage, key, options) {
    super()
    if (isOptions(storage) && storage.storage === undefined && !storage[PARENT] && !storage[STORE]) {
      options = storage
      storage = null
    } else if (isOptions(storage)) {
      options = storage
      storage = options.storage
      key = options.key
    } else if (isOptions(key)) {
      options = key
      key = null
    }
    if (!options) options = {}
    if (key === undefined || key === null) key = options.key === undefined ? null : options.key

    this.storage = storage || null
    this.extensions = new Map()
    this.sessions = []
    this.valueEncoding = codec.from(options.valueEncoding)
    this.encodeBatch = options.encodeBatch || null
    this.snapshotted = !!options.snapshot
    this.exclusive = !!options.exclusive
    this.weak = !!options.weak
    this.timeout = options.timeout || 0
    this.wait = options.wait !== false
    this.onwait = options.onwait || null
    this.onseq = options.onseq || null
    this.preload = options.preload || null
    this.encryption = null

    this._options = options
    this._key = key === null ? null : keys.decode(key)
    this._discoveryKey = null
    this._id = null
    this._handle = 0
    this._folder = null
    this._store = 0
    this._news = 0
    this._peers = new Map()
    this.ready().catch(core.noop)
  }

  async _open () {
    let options = this._options
    if (options.preload) {
      const late = await options.preload
      if (late) {
        options = this._options = { ...options, ...late }
        if (late.valueEncoding) this.valueEncoding = codec.from(late.valueEncoding)
        if (late.key) this._key = keys.decode(late.key)
      }
    }
    const described = await this._openCore(options)
    this._handle = core.own(this, described.handle)
    this._key = described.key
    this._discoveryKey = described.discoveryKey
    this._id = described.id
    this.snapshotted = described.snapshotted
    if (options.userData) {
      for (const [name, value] of Object.entries(options.userData)) await this.setUserData(name, value)
    }
    if ([...TOLD].some((name) => this.listenerCount(name) > 0)) this._listen(described)
  }

  async _openCore (options) {
    const encryption = options.encryption || (options.encryptionKey ? { key: options.encryptionKey, block: !!options.isBlockKey } : null)
    this.encryption = encryption
    const wanted = {
      wait: options.wait,
      timeout: options.timeout || undefined,
      exclusive: options.exclusive,
      active: options.weak ? false : options.active,
      writable: options.writable,
      snapshot: options.snapshot
    }
    if (options[OPEN]) {
      this._store = options[OPEN].store
      return options[OPEN].described
    }
    const parent = options[PARENT]
    if (parent) {
      await parent.ready()
      this._folder = parent._folder
      if (this._folder !== null) this._folder.sessions++
      this._store = parent._store
      const described = await core.coreSession(parent._handle, { ...wanted, name: options.name })
      if (encryption && encryption !== parent.encryption) core.coreSetEncryptionKey(described.handle, encryption)
      return described
    }
    Object.assign(wanted, {
      key: this._key,
      keyPair: options.keyPair,
      manifest: options.manifest,
      encryption: encryption && ArrayBuffer.isView(encryption) ? { key: encryption } : encryption,
      createIfMissing: options.createIfMissing
    })
    if (options[STORE]) {
      const store = options[STORE]
      await store.ready()
      this._store = store._handle
      const discoveryKey = options.discoveryKey ? keys.decode(options.discoveryKey) : undefined
      return await core.storeCore(this._store, { ...wanted, name: options.name, discoveryKey })
    }
    if (typeof this.storage !== 'string') {
      throw failure('BAD_ARGUMENT', 'a Hypercore needs a folder to be stored in')
    }
    this._folder = new Folder(this.storage)
    this._folder.sessions++
    try {
      this._store = await this._folder.open({ createIfMissing: options.createIfMissing })
      return await core.storeSingle(this._store, wanted)
    } catch (error) {
      await this._folder.release()
      throw error
    }
  }

  async _close () {
    if (this._handle === 0) return
    for (const extension of this.extensions.values()) extension.destroy()
    if (this._news !== 0) {
      core.letGo(this._news)
      this._news = -1
    }
    await core.coreClose(this._handle)
    if (this._folder !== null) await this._folder.release()
  }

  on (name, listener) {
    super.on(name, listener)
    if (this.opened && TOLD.has(name)) this._listen()
    return this
  }

  addListener (name, listener) {
    return this.on(name, listener)
  }

  once (name, listener) {
    super.once(name, listener)
    if (this.opened && TOLD.has(name)) this._listen()
    return this
  }

  // `seen` has the length and the fork that the program knows of.
  _listen (seen = this) {
    if (this._news !== 0 || this._handle === 0) return
    this._news = core.coreEvents(this._handle, seen.length, seen.fork)
    this._hear()
  }

  _hear () {
    const events = this._news
    if (events <= 0) return
    core.coreEvent(events, (error, list) => {
      if (error || list === null || this._news !== events) return
      this._hear()
      for (const [name, ...told] of list) this._tell(name, told)
    })
  }

  _tell (name, told) {
    switch (name) {
      case 'peer-add':
      case 'peer-remove': {
        const [id] = told
        let peer = this.peers.find((peer) => peer.id === id)
        if (peer === undefined) peer = this._peers.get(id) || { id }
        if (name === 'peer-add') this._peers.set(id, peer)
        else this._peers.delete(id)
        this.emit(name, peer)
        break
      }
      case 'upload':
      case 'download': {
        const [index, byteLength, id] = told
        this.emit(name, index, byteLength, this._peers.get(id) || { id })
        break
      }
      default:
        this.emit(name, ...told)
    }
  }

  // What only makes sense of a core that is open.
  _when (read, before) {
    return this._handle === 0 ? before : read(this._handle)
  }

  get key () { return this._key }
  get discoveryKey () { return this._discoveryKey === null && this._key !== null ? Hypercore.discoveryKey(this._key) : this._discoveryKey }
  get id () { return this._key === null ? null : (this._id || keys.encode(this._key)) }
  get keyPair () { return this._when(core.coreKeyPair, null) }
  get manifest () { return this._when(core.coreManifest, null) }
  get length () { return this._when(core.coreLength, 0) }
  get signedLength () { return this._when(core.coreSignedLength, 0) }
  get byteLength () { return this._when(core.coreByteLength, 0) }
  get contiguousLength () { return this._when(core.coreContiguousLength, 0) }
  get contiguousByteLength () { return 0 }
  get remoteContiguousLength () { return this._when(core.coreRemoteContiguousLength, 0) }
  get fork () { return this._when(core.coreFork, 0) }
  get padding () { return this._when(core.corePadding, 0) }
  get writable () { return !this.closing && this._when(core.coreWritable, false) }
  get readable () { return this.closing === null }
  get peers () { return this._when(core.corePeers, []) }
  get core () { return this }
  get globalCache () { return null }
  get recovering () { return false }

  // Waits until it is open; a call after `close()` is refused.
  async _ready () {
    if (this.closing !== null) throw failure('SESSION_CLOSED', 'The session is closed')
    await this.ready()
    if (this.closing !== null) throw failure('SESSION_CLOSED', 'The session is closed')
  }

  session (options = {}) {
    if (this.closing !== null) throw failure('SESSION_CLOSED', 'Cannot make sessions on a closing core')
    const inherited = {
      wait: this._options.wait,
      timeout: this._options.timeout,
      writable: this._options.writable,
      onwait: this.onwait,
      onseq: this.onseq,
      valueEncoding: this._options.valueEncoding
    }
    const Session = options.class || this.constructor
    const session = new Session({ ...inherited, ...options, [PARENT]: this })
    session._key = this._key
    return session
  }

  snapshot (options = {}) {
    return this.session({ ...options, snapshot: true })
  }

  async append (blocks, options = {}) {
    if (!this.opened || this.closing !== null) await this._ready()
    const list = Array.isArray(blocks) ? blocks : [blocks]
    const encoding = options.valueEncoding ? codec.from(options.valueEncoding) : this.valueEncoding
    const encoded = this.encodeBatch !== null && Array.isArray(blocks)
      ? this.encodeBatch(list)
      : list.map((block) => codec.encode(encoding, block))
    return core.coreAppend(this._handle, encoded, options)
  }

  async truncate (length = 0, options = {}) {
    await this._ready()
    await core.coreTruncate(this._handle, length, typeof options === 'number' ? { fork: options } : options)
  }

  async clear (start, end = start + 1, options = {}) {
    await this._ready()
    if (end !== null && typeof end === 'object') {
      options = end
      end = start + 1
    }
    const blocks = await core.coreClear(this._handle, start, end)
    return options && options.diff ? { blocks } : null
  }

  // Takes the blocks of a branch (`session({ name })`) over; null when something else was appended meanwhile.
  async commit (branch, options = {}) {
    await this._ready()
    await branch.ready()
    const { length, signature } = options
    return core.coreCommit(this._handle, branch._handle, { length: length === -1 ? undefined : length, signature })
  }

  // From now on each get marks its block; `sweep` clears the others.
  async startMarking () {
    await this._ready()
    await core.coreStartMarking(this._handle)
  }

  async markBlock (start, end = start + 1) {
    await this._ready()
    await core.coreMark(this._handle, start, end)
  }

  async clearMarkings () {
    await this._ready()
    await core.coreClearMarks(this._handle)
  }

  async sweep () {
    await this._ready()
    await core.coreSweep(this._handle)
  }

  get (index, options) {
    // What is here is answered without more ado.
    if (options === undefined && this.opened && this.closing === null && this.onseq === null && this.onwait === null && Number.isInteger(index) && index >= 0) {
      try {
        const block = core.coreHere(this._handle, index)
        if (block !== undefined) return Promise.resolve(codec.decode(this.valueEncoding, block))
      } catch (error) {
        return Promise.reject(error)
      }
    }
    return this._get(index, options)
  }

  async _get (index, options = {}) {
    if (!this.opened || this.closing !== null) await this._ready()
    if (!Number.isInteger(index) || index < 0) throw failure('ERR_ASSERTION', 'block index must be a positive integer')
    if (this.onseq !== null) this.onseq(index, this)
    const waiting = { wait: options.wait, timeout: options.timeout, raw: options.raw || options.decrypt === false }
    const onwait = options.onwait || this.onwait
    if (onwait && options.wait !== false && !(await core.coreHas(this._handle, index, index + 1))) await onwait(index, this)
    const block = await core.coreGet(this._handle, index, waiting)
    if (block === null || options.raw) return block
    const encoding = options.valueEncoding ? codec.from(options.valueEncoding) : this.valueEncoding
    return codec.decode(encoding, block)
  }

  async has (start, end = start + 1) {
    await this._ready()
    return core.coreHas(this._handle, start, end)
  }

  async update () {
    if (this.closing !== null) return false
    await this.ready()
    return core.coreUpdate(this._handle)
  }

  async seek (offset, options = {}) {
    await this._ready()
    return core.coreSeek(this._handle, offset, { wait: options.wait, timeout: options.timeout })
  }

  async treeHash (length) {
    await this._ready()
    return core.coreTreeHash(this._handle, { length })
  }

  async signable (length, fork) {
    await this._ready()
    return core.coreSignable(this._handle, { length, fork })
  }

  async info (options = {}) {
    await this._ready()
    const { key, discoveryKey, length, contiguousLength, byteLength, fork, padding } = this
    const storage = options.storage ? await core.coreUsage(this._handle) : null
    return { key, discoveryKey, length, contiguousLength, byteLength, fork, padding, storage }
  }

  async setUserData (name, value) {
    if (this._handle === 0) await this._ready()
    await core.coreSetUserData(this._handle, name, { value: value === null || value === undefined ? null : codec.encode(null, value) })
  }

  async getUserData (name) {
    await this._ready()
    return core.coreUserData(this._handle, name)
  }

  async setEncryptionKey (key) {
    await this._ready()
    this.encryption = key ? { key } : null
    core.coreSetEncryptionKey(this._handle, { key })
  }

  async setEncryption (encryption) {
    return this.setEncryptionKey(encryption ? encryption.key : null)
  }

  setActive (active) {
    if (this._handle === 0) this.ready().then(() => this.setActive(active), core.noop)
    else core.coreSetActive(this._handle, active)
  }

  getManifest () {
    return this.manifest
  }

  async purge () {
    await this._ready()
    await core.corePurge(this._handle)
    await this.close()
  }

  async compact () {
    await this._ready()
    await core.storeCompact(this._store)
  }

  findingPeers () {
    let id = 0
    let done = false
    const start = () => { if (!done) id = core.coreFindingPeers(this._handle) }
    if (this._handle !== 0) start()
    else this.ready().then(start, core.noop)
    return () => {
      done = true
      if (id !== 0) core.letGo(id)
      id = 0
    }
  }

  download (range = {}) {
    return new Download(this, range || {})
  }

  undownload (download) {
    download.destroy()
  }

  createReadStream (options = {}) {
    const decode = (block) => codec.decode(options.valueEncoding ? codec.from(options.valueEncoding) : this.valueEncoding, block)
    const { start, end, live, snapshot, reverse, wait = this._options.wait, timeout } = options
    const reading = { start, end, live, snapshot, reverse, wait, timeout }
    return new Pulled(() => this._ready().then(() => core.coreReadStream(this._handle, reading)), decode, { live })
  }

  createByteStream (options = {}) {
    const { byteOffset, byteLength, prefetch } = options
    const open = () => this._ready().then(() => core.coreByteStream(this._handle, { byteOffset, byteLength, prefetch }))
    return new Pulled(open, null, { byteLength: (bytes) => bytes.byteLength })
  }

  createWriteStream () {
    return new Writable({
      highWaterMark: 256,
      byteLengthWritable: () => 1,
      writev: (blocks, done) => this.append(blocks).then(() => done(null), done)
    })
  }

  registerExtension (name, handlers = {}) {
    const before = this.extensions.get(name)
    if (before) {
      before.onmessage = handlers.onmessage || core.noop
      before.encoding = codec.from(handlers.encoding)
      return before
    }
    const extension = new Extension(this, name, handlers)
    this.extensions.set(name, extension)
    return extension
  }

  replicate (initiator, options = {}) {
    const stream = protocolStream(initiator, options)
    const join = () => attach(stream, this._store, { core: this._handle })
    if (this.opened) join()
    else this.ready().then(join, core.noop)
    return stream
  }

  static key (manifest, options = {}) {
    const { compat = false, version, namespace } = options
    const of = ArrayBuffer.isView(manifest) ? { version, signers: [{ publicKey: manifest, namespace }] } : manifest
    return core.manifestKey(of, compat)
  }

  static discoveryKey (key) {
    return core.discoveryKey(key)
  }

  static blockEncryptionKey (key, encryptionKey) {
    return core.blockEncryptionKey(key, encryptionKey)
  }

  // What the Core Concepts page shows; npm has it in hypercore-crypto.
  static generateKeyPair (seed) {
    return core.keyPair({ seed })
  }

  static createProtocolStream (initiator, options) {
    return protocolStream(initiator, options)
  }

  static getProtocolMuxer (stream) {
    return (stream.noiseStream || stream).userData
  }

  static isHypercore (value) {
    return value instanceof Hypercore
  }
}

// Where a session comes from.
const PARENT = Symbol('pome.parent')
const STORE = Symbol('pome.store')
const OPEN = Symbol('pome.open')

function isOptions (value) {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
}

Hypercore.MAX_SUGGESTED_BLOCK_SIZE = 15 * 1024 * 1024
Hypercore.STORE = STORE
Hypercore.OPEN = OPEN
Hypercore.Download = Download

module.exports = Hypercore
module.exports.default = Hypercore
