// Hyperblobs of the Rust core under the face of npm hyperblobs 2.12.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const Pulled = require('pome-core/pulled')
const Writing = require('pome-core/writing')
const { BlobMonitor } = require('pome-core/monitor')

// Blobs that get into the core together.
class Batch {
  constructor (blobs) {
    this.blobs = blobs
    this.blocks = []
    this.bytes = 0
  }

  ready () { return this.blobs.ready() }

  async put (content) {
    await this.blobs.ready()
    const { core: feed, blockSize } = this.blobs
    const blob = { blockOffset: feed.length + this.blocks.length, blockLength: 0, byteOffset: feed.byteLength + this.bytes, byteLength: content.byteLength }
    for (let at = 0; at < content.byteLength; at += blockSize) this.blocks.push(content.subarray(at, at + blockSize))
    blob.blockLength = feed.length + this.blocks.length - blob.blockOffset
    this.bytes += blob.byteLength
    return blob
  }

  async get (blob) {
    const at = blob.blockOffset - this.blobs.core.length
    if (at < 0) return this.blobs.get(blob)
    if (at + blob.blockLength > this.blocks.length) return null
    return Buffer.concat(this.blocks.slice(at, at + blob.blockLength))
  }

  async flush () {
    const blocks = this.blocks
    this.blocks = []
    this.bytes = 0
    if (blocks.length > 0) await this.blobs.core.append(blocks)
  }

  close () {}
}

class Hyperblobs extends Resource {
  constructor (feed, options = {}) {
    super()
    this.core = feed
    this.blockSize = options.blockSize || 65536
    this._handle = 0
    this._writing = 0
    this.ready().catch(core.noop)
  }

  get feed () { return this.core }
  get key () { return this.core.key }
  get discoveryKey () { return this.core.discoveryKey }
  get locked () { return this._writing > 0 }

  batch () {
    return new Batch(this)
  }

  // The blobs as they are now.
  snapshot () {
    return new Hyperblobs(this.core.snapshot(), { blockSize: this.blockSize })
  }

  // Follows what comes and goes of a blob.
  monitor (blob) {
    return new BlobMonitor(this, blob)
  }

  async _open () {
    await this.core.ready()
    this._handle = core.own(this, core.blobsOpen(this.core._handle, { blockSize: this.blockSize }))
  }

  async _close () {
    await this.core.close()
  }

  async put (content) {
    await this.ready()
    return core.blobsPut(this._handle, content)
  }

  async get (blob, options = {}) {
    const pieces = []
    for await (const piece of this.createReadStream(blob, options)) pieces.push(piece)
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
  }

  async clear (blob) {
    await this.ready()
    return core.blobsClear(this._handle, blob)
  }

  async getByteLength (blob) {
    await this.ready()
    return core.blobsLength(this._handle, blob)
  }

  createReadStream (blob, options = {}) {
    const { start, end, length } = options
    return new Pulled(() => this.ready().then(() => core.blobsRead(this._handle, blob, { start, end, length })), null, { byteLength: (bytes) => bytes.byteLength })
  }

  createWriteStream () {
    const stream = new Writing(async () => {
      await this.ready()
      this._writing++
      stream.on('close', () => { this._writing-- })
      return core.blobsWrite(this._handle)
    })
    return stream
  }

  replicate (initiator, options) {
    return this.core.replicate(initiator, options)
  }
}

module.exports = Hyperblobs
module.exports.default = Hyperblobs
