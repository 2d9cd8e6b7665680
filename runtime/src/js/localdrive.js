// Folders on disk as drives, of the Rust core, under the face of npm localdrive 2.2.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const Pulled = require('pome-core/pulled')
const Writing = require('pome-core/writing')
const MirrorDrive = require('mirror-drive')

function pathOf (path) {
  return typeof path === 'object' && path !== null ? path.key : path
}

class Localdrive extends Resource {
  constructor (root, options = {}) {
    super()
    this.root = root
    this.isLocal = true
    this.followLinks = !!options.followLinks
    this._metadata = options.metadata || null
    this.metadata = this._metadata || {}
    this.supportsMetadata = this._metadata !== null
    const { atomic, followLinks } = options
    this._handle = core.own(this, core.localOpen(root, { atomic, followLinks }))
    this.root = core.localPath(this._handle, '/')
  }

  get writable () { return true }

  async flush () {}
  batch () { return this }
  checkout () { return this }

  toPath (path) {
    return core.localPath(this._handle, pathOf(path))
  }

  async entry (path, options = {}) {
    if (typeof path === 'object' && path !== null && path.value && !options.follow) return path
    const entry = await core.localEntry(this._handle, pathOf(path), { follow: options.follow })
    return entry === null ? null : this._described(entry)
  }

  async _described (entry) {
    if (this._metadata !== null) {
      entry.value.metadata = await this._metadata.get(entry.key)
    }
    return entry
  }

  async get (path) {
    return core.localGet(this._handle, pathOf(path))
  }

  async put (path, content, options = {}) {
    await core.localPut(this._handle, pathOf(path), content, { executable: !!options.executable })
    await this._remember(pathOf(path), options.metadata)
  }

  async _remember (path, metadata) {
    if (this._metadata === null) return
    if (metadata === undefined || metadata === null) await (this._metadata.del || this._metadata.delete).call(this._metadata, path)
    else await (this._metadata.put || this._metadata.set).call(this._metadata, path, metadata)
  }

  async del (path) {
    await core.localDel(this._handle, pathOf(path))
    await this._remember(pathOf(path), null)
  }

  async symlink (path, target) {
    await core.localSymlink(this._handle, pathOf(path), target)
  }

  async exists (path) {
    return (await core.localEntry(this._handle, pathOf(path), {})) !== null
  }

  async has (path) {
    return this.exists(path)
  }

  compare (a, b) {
    return Math.sign(a.mtime - b.mtime)
  }

  list (folder = '/', options = {}) {
    const ignore = options.ignore
    const paths = ignore && typeof ignore !== 'function' ? [].concat(ignore) : undefined
    const list = new Pulled(() => core.localList(this._handle, folder, { ignore: paths }), null, { highWaterMark: 64, byteLength: () => 1 })
    if (typeof ignore !== 'function') return list
    return (async function * () {
      for await (const entry of list) if (!ignore(entry.key)) yield entry
    })()
  }

  async * readdir (folder = '/') {
    yield * await core.localReaddir(this._handle, folder)
  }

  mirror (target, options) {
    return new MirrorDrive(this, target, options)
  }

  createReadStream (path, options = {}) {
    const { start, end, length } = options
    return new Pulled(() => core.localRead(this._handle, pathOf(path), { start, end, length }), null, { byteLength: (bytes) => bytes.byteLength })
  }

  createWriteStream (path, options = {}) {
    const stream = new Writing(() => core.localWrite(this._handle, pathOf(path), { executable: !!options.executable }))
    if (this._metadata !== null) stream.on('finish', () => this._remember(pathOf(path), options.metadata))
    return stream
  }
}

module.exports = Localdrive
module.exports.default = Localdrive
