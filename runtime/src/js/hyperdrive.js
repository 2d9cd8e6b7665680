// Hyperdrives of the Rust core under the face of npm hyperdrive 13.3.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const keys = require('hypercore-id-encoding')
const Pulled = require('pome-core/pulled')
const Writing = require('pome-core/writing')
const Corestore = require('corestore')
const Hypercore = require('hypercore')
const Hyperbee = require('hyperbee')
const MirrorDrive = require('mirror-drive')
const EventEmitter = require('bare-events')
const crypto = require('hypercore-crypto')
const { DriveMonitor } = require('pome-core/monitor')

class Download {
  constructor (start) {
    this._destroyed = false
    this._id = 0
    this._opening = start().then((id) => {
      if (this._destroyed) core.letGo(id)
      else this._id = core.own(this, id)
    })
    this._opening.catch(core.noop)
  }

  async done () {
    await this._opening
    if (!this._destroyed) await core.driveDownloaded(this._id)
  }

  destroy () {
    if (this._destroyed) return
    this._destroyed = true
    if (this._id !== 0) core.disown(this, this._id)
  }
}

// Changes below a folder: an async iterator of `[current, previous]` drives.
class Watcher extends EventEmitter {
  constructor (drive, folder) {
    super()
    this.closed = false
    this._drive = drive
    this._id = 0
    this._news = null
    this._waiting = null
    this._shown = []
    this._opening = drive.ready().then(() => {
      if (this.closed) return
      this._id = core.own(this, core.driveWatch(drive._handle, folder || '/'))
      this._hear()
    })
    this._opening.catch(core.noop)
  }

  ready () { return this._opening }

  _hear () {
    core.driveChanged(this._id, (error, pair) => {
      if (this.closed) return
      if (error || pair === null) return this.destroy(error)
      this._hear()
      const views = pair.map((handle) => this._drive._view(handle))
      if (this._waiting !== null) {
        const { resolve } = this._waiting
        this._waiting = null
        resolve({ done: false, value: this._show(views) })
      } else {
        this._news = views
      }
    })
  }

  _show (views) {
    for (const view of this._shown) view.close().catch(core.noop)
    this._shown = views
    return views
  }

  next () {
    if (this._news !== null) {
      const news = this._news
      this._news = null
      return Promise.resolve({ done: false, value: this._show(news) })
    }
    if (this.closed) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => { this._waiting = { resolve, reject } })
  }

  async return () {
    await this.destroy()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator] () { return this }

  async destroy (error) {
    if (this.closed) return
    this.closed = true
    if (this._id !== 0) core.disown(this, this._id)
    this._drive._watchers.delete(this)
    this._show([])
    const waiting = this._waiting
    this._waiting = null
    if (waiting !== null) {
      if (error) waiting.reject(error)
      else waiting.resolve({ done: true, value: undefined })
    }
  }

  close () { return this.destroy() }
}

function pathOf (path) {
  return typeof path === 'object' && path !== null ? path.key : path
}

// As plain text, which the other side reads again.
function putting (options) {
  const { executable, metadata, dedup } = options || {}
  return { executable: !!executable, metadata: metadata === null || metadata === undefined ? undefined : JSON.stringify(metadata), dedup: !!dedup }
}

// What to leave out: paths are left out natively, a function is asked here.
function leaving (ignore) {
  if (!ignore) return { paths: undefined, wanted: null }
  if (typeof ignore === 'function') return { paths: undefined, wanted: (key) => !ignore(key) }
  return { paths: Array.isArray(ignore) ? ignore : [ignore], wanted: null }
}

class Hyperdrive extends Resource {
  constructor (store, key, options = {}) {
    super()
    if (isOptions(key)) {
      options = key
      key = null
    }
    // The Core Concepts page makes a drive of a folder.
    this._ownsStore = typeof store === 'string'
    this.corestore = this._ownsStore ? new Corestore(store) : store
    this.db = options[DB] || null
    this.blobs = null
    this.supportsMetadata = true
    this.encryptionKey = options.encryptionKey || null
    this.monitors = new Set()
    this._key = key ? keys.decode(key) : null
    this._discoveryKey = null
    this._core = null
    this._handle = 0
    this._batch = 0
    this._options = options
    this._watchers = new Set()
    this._version = options[VERSION] === undefined ? null : options[VERSION]
    this.ready().catch(core.noop)
  }

  async _open () {
    const options = this._options
    if (options[HANDLE] !== undefined) {
      const parent = options[PARENT]
      await parent.ready()
      this._handle = core.own(this, typeof options[HANDLE] === 'function' ? options[HANDLE](parent._handle) : options[HANDLE])
      this._key = parent._key
      this._discoveryKey = parent._discoveryKey
      this._core = parent._core
      this.blobs = parent.blobs
      this.db = new Hyperbee(this._core, { keyEncoding: 'utf-8', valueEncoding: 'json', [Hyperbee.HANDLE]: core.driveDb(this._handle) })
      this.db._isView = true
      return
    }
    await this.corestore.ready()
    const described = await core.driveOpen(this.corestore._handle, { key: this._key, encryptionKey: this.encryptionKey, active: options.active })
    this._handle = core.own(this, described.handle)
    this._key = described.key
    this._discoveryKey = described.discoveryKey
    this._core = new Hypercore({ [Hypercore.OPEN]: { store: this.corestore._handle, described: { ...described, handle: described.core } } })
    await this._core.ready()
    this.db = new Hyperbee(this._core, { keyEncoding: 'utf-8', valueEncoding: 'json', [Hyperbee.HANDLE]: core.driveDb(this._handle) })
    this.getBlobs().catch(core.noop)
  }

  async _close () {
    for (const watcher of [...this._watchers]) await watcher.destroy()
    await this.closeMonitors()
    if (this._handle === 0 || this._options[HANDLE] !== undefined) return
    await core.driveClose(this._handle)
    await this.corestore.close()
  }

  get id () { return this._key === null ? null : keys.encode(this._key) }
  get key () { return this._key }
  get discoveryKey () { return this._discoveryKey }
  get core () { return this._core }
  get contentKey () { return this._handle === 0 ? null : (core.driveFacts(this._handle).contentKey || undefined) }
  get version () { return this._handle === 0 ? 0 : core.driveVersion(this._handle) }
  get writable () { return this._handle !== 0 && core.driveFacts(this._handle).writable }
  get readable () { return this.closing === null }

  async _call () {
    if (this.closing !== null) throw new Error('Closed')
    if (!this.opened) await this.ready()
  }

  // The contents, as soon as their key is known.
  async getBlobs () {
    await this._call()
    if (this.blobs !== null) return this.blobs
    const described = await core.driveContent(this._handle)
    if (this.blobs !== null) return this.blobs
    const Hyperblobs = require('hyperblobs')
    const contents = new Hypercore({ [Hypercore.OPEN]: { store: this.corestore._handle, described } })
    await contents.ready()
    this.blobs = new Hyperblobs(contents)
    await this.blobs.ready()
    this.emit('blobs', this.blobs)
    this.emit('content-key', this.blobs.key)
    return this.blobs
  }

  async update (options) {
    await this._call()
    return core.driveUpdate(this._handle)
  }

  replicate (initiator, options) {
    return this.corestore.replicate(initiator, options)
  }

  findingPeers () {
    return this.corestore.findingPeers()
  }

  setActive (active) {
    this.ready().then(() => {
      this._core.setActive(active)
      if (this.blobs !== null) this.blobs.core.setActive(active)
    }, core.noop)
  }

  async put (path, content, options) {
    await this._call()
    if (this._batch !== 0) await core.driveBatchPut(this._batch, pathOf(path), content, putting(options))
    else await core.drivePut(this._handle, pathOf(path), content, putting(options))
  }

  async putEntry (path, entry) {
    await this._call()
    const value = { ...entry, ...putting(entry) }
    if (this._batch !== 0) await core.driveBatchPutEntry(this._batch, pathOf(path), value)
    else await core.drivePutEntry(this._handle, pathOf(path), value)
  }

  async get (path, options = {}) {
    await this._call()
    if (this._batch !== 0) return core.driveBatchGet(this._batch, pathOf(path))
    const { follow, wait, timeout } = options
    return core.driveGet(this._handle, pathOf(path), { follow, wait, timeout })
  }

  async entry (path, options = {}) {
    await this._call()
    if (typeof path === 'object' && path !== null && path.value && !options.follow) return path
    if (this._batch !== 0) return core.driveBatchEntry(this._batch, pathOf(path))
    const { follow, wait, timeout } = options
    return core.driveEntry(this._handle, pathOf(path), { follow, wait, timeout })
  }

  async exists (path) {
    if (this._batch !== 0) return (await this.entry(path)) !== null
    await this._call()
    return core.driveExists(this._handle, pathOf(path))
  }

  async has (path) {
    await this._call()
    return core.driveHas(this._handle, pathOf(path))
  }

  async del (path) {
    await this._call()
    if (this._batch !== 0) await core.driveBatchDel(this._batch, pathOf(path))
    else await core.driveDel(this._handle, pathOf(path))
  }

  async symlink (path, target, options = {}) {
    await this._call()
    if (this._batch !== 0) await core.driveBatchPutEntry(this._batch, pathOf(path), { linkname: target, ...putting(options) })
    else await core.driveSymlink(this._handle, pathOf(path), target, putting(options))
  }

  compare (a, b) {
    return Math.sign(a.seq - b.seq)
  }

  async clear (path, options) {
    await this._call()
    const blocks = await core.driveClear(this._handle, pathOf(path))
    return options && options.diff ? { blocks } : null
  }

  async clearAll (options) {
    await this._call()
    const blocks = await core.driveClearAll(this._handle)
    return options && options.diff ? { blocks } : null
  }

  async purge () {
    await this._call()
    await core.drivePurge(this._handle)
    await this.close()
  }

  async truncate (version) {
    await this._call()
    await core.driveTruncate(this._handle, version)
  }

  async getBlobsLength (checkout) {
    await this._call()
    if (checkout === undefined || checkout === this.version) return core.driveBlobsLength(this._handle)
    const then = this.checkout(checkout)
    await then.ready()
    return core.driveBlobsLength(then._handle)
  }

  batch () {
    const batch = this._derive((handle) => {
      batch._batch = core.own(batch, core.driveBatch(handle))
      return core.driveView(handle, core.driveVersion(handle))
    })
    return batch
  }

  async flush () {
    await this._call()
    if (this._batch !== 0) await core.driveBatchFlush(this._batch)
    await this.close()
  }

  _derive (handle) {
    return new Hyperdrive(this.corestore, this._key, { ...this._options, [HANDLE]: handle, [PARENT]: this })
  }

  _view (handle) {
    return this._derive(handle)
  }

  checkout (version) {
    return this._derive((handle) => core.driveView(handle, version))
  }

  snapshot () {
    return this._derive((handle) => core.driveView(handle, core.driveVersion(handle)))
  }

  list (folder = '/', options = {}) {
    if (isOptions(folder)) {
      options = folder
      folder = '/'
    }
    const { paths, wanted } = leaving(options.ignore)
    const open = () => this._call().then(() => core.driveList(this._handle, folder, { recursive: options.recursive, ignore: paths }))
    const list = new Pulled(open, null, { highWaterMark: 64, byteLength: () => 1 })
    if (wanted === null) return list
    const { Transform } = require('streamx')
    return list.pipe(new Transform({
      transform (entry, done) {
        if (wanted(entry.key)) this.push(entry)
        done(null)
      }
    }))
  }

  readdir (folder = '/') {
    return new Pulled(() => this._call().then(() => core.driveReaddir(this._handle, folder)), null, { highWaterMark: 64, byteLength: () => 1 })
  }

  entries (range, options) {
    const names = this.db.sub('files', { keyEncoding: 'utf-8', valueEncoding: 'json' })
    return names.createReadStream(range, options)
  }

  [Symbol.asyncIterator] () {
    return this.entries()[Symbol.asyncIterator]()
  }

  mirror (target, options) {
    return new MirrorDrive(this, target, options)
  }

  watch (folder = '/') {
    const watcher = new Watcher(this, folder)
    this._watchers.add(watcher)
    return watcher
  }

  // Follows what comes and goes of a file, or of the whole drive.
  monitor (name, options = {}) {
    const monitor = new DriveMonitor(this, { name, ...options })
    this.monitors.add(monitor)
    return monitor
  }

  async closeMonitors () {
    await Promise.allSettled([...this.monitors].map((monitor) => monitor.close()))
  }

  createReadStream (path, options = {}) {
    const { start, end, length } = options
    return new Pulled(() => this._call().then(() => core.driveRead(this._handle, pathOf(path), { start, end, length })), null, { byteLength: (bytes) => bytes.byteLength })
  }

  createWriteStream (path, options) {
    return new Writing(async () => {
      await this._call()
      return core.driveWrite(this._handle, pathOf(path), putting(options))
    })
  }

  download (folder = '/', options = {}) {
    if (isOptions(folder)) {
      options = folder
      folder = '/'
    }
    const { paths } = leaving(options.ignore)
    return new Download(() => this._call().then(() => core.driveDownload(this._handle, folder, { recursive: options.recursive, ignore: paths })))
  }

  diff (version, folder, options) {
    return new Pulled(() => this._call().then(() => core.driveDiff(this._handle, version, typeof folder === 'string' ? folder : '/')), null, { highWaterMark: 64, byteLength: () => 1 })
  }

  downloadDiff (version, folder) {
    return new Download(() => this._call().then(() => core.driveDownloadDiff(this._handle, version, folder || '/')))
  }

  downloadRange (db, blobs) {
    return new Download(() => this._call().then(() => core.driveDownloadRange(this._handle, { db, blobs })))
  }

  static async getDriveKey (store) {
    await store.ready()
    return core.driveKey(store._handle)
  }

  // The manifest of the contents of a drive whose own core has this one; null for a core that has none.
  static getContentManifest (manifest, key = null) {
    if (!manifest || manifest.version < 1) return null
    if (key === null) key = Hypercore.key(manifest)
    const [contents] = crypto.namespace('hyperdrive', 1)
    const signers = manifest.signers.map((signer) => ({ ...signer, namespace: crypto.hash([contents, key, signer.namespace]) }))
    const { version, allowPatch, quorum } = manifest
    return { version, hash: 'blake2b', allowPatch, quorum, signers, prologue: null }
  }

  static getContentKey (manifest, key = null) {
    if (manifest instanceof Hypercore) return Hyperdrive.getContentKey(manifest.manifest, manifest.key)
    const contents = Hyperdrive.getContentManifest(manifest, key)
    return contents === null ? null : Hypercore.key(contents)
  }

  static normalizePath (path) {
    return core.drivePath(path)
  }
}

const HANDLE = Symbol('pome.handle')
const PARENT = Symbol('pome.parent')
const DB = Symbol('pome.db')
const VERSION = Symbol('pome.version')

function isOptions (value) {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
}

module.exports = Hyperdrive
module.exports.default = Hyperdrive
