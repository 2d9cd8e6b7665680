// Hyperblobs of the Rust core under the face of npm hyperblobs 2.12.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const Pulled = require('pome-core/pulled')
const Writing = require('pome-core/writing')

class Hyperblobs extends Resource {
  constructor (feed, options = {}) {
    super()
    this.core = feed
    this.blockSize = options.blockSize || 65536
    this._handle = 0
    this.ready().catch(core.noop)
  }

  get feed () { return this.core }
  get key () { return this.core.key }
  get discoveryKey () { return this.core.discoveryKey }

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
    return new Writing(async () => {
      await this.ready()
      return core.blobsWrite(this._handle)
    })
  }

  replicate (initiator, options) {
    return this.core.replicate(initiator, options)
  }
}

module.exports = Hyperblobs
module.exports.default = Hyperblobs
