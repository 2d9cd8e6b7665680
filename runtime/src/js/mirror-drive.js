// Makes one drive like another, natively, under the face of npm mirror-drive 1.14.

const core = require('pome-core')
const Pulled = require('pome-core/pulled')
const { isStream, pipelinePromise } = require('streamx')
const { MirrorMonitor, speedometer } = require('pome-core/monitor')

class MirrorDrive {
  constructor (source, target, options = {}) {
    this.src = source
    this.dst = target
    this.prefix = options.prefix || '/'
    this.dryRun = !!options.dryRun
    this.prune = options.prune !== false
    this.includeEquals = !!options.includeEquals
    this.filter = options.filter || null
    this.ignore = options.ignore || null
    this.dedup = !!options.dedup
    this.entries = options.entries || null
    this.transformers = options.transformers || []
    this.count = { files: 0, add: 0, remove: 0, change: 0 }
    this.bytesAdded = 0
    this.bytesRemoved = 0
    this.finished = false
    this.preloaded = false
    this.includeProgress = !!options.progress && !!source.getBlobs
    this.downloadedBlocks = 0
    this.downloadedBlocksEstimate = 0
    this.downloadedBytes = 0
    this.downloadSpeed = this.includeProgress ? speedometer() : null
    this.uploadedBlocks = 0
    this.uploadedBytes = 0
    this.uploadSpeed = this.includeProgress ? speedometer() : null
    this.monitors = []
    this.iterator = this._watched()
  }

  get peers () {
    return (this.src.core && this.src.core.peers) || []
  }

  // How much of what has to come is here, as far as can be told before the end.
  get downloadProgress () {
    if (this.finished) return 1
    if (this.downloadedBlocksEstimate === 0) return 0
    return Math.min(0.99, this.downloadedBlocks / this.downloadedBlocksEstimate)
  }

  // Says again and again how it stands.
  monitor (options) {
    this.includeProgress = true
    if (this.downloadSpeed === null) this.downloadSpeed = speedometer()
    if (this.uploadSpeed === null) this.uploadSpeed = speedometer()
    return new MirrorMonitor(this, options)
  }

  // The mirror, and what comes and goes of the blobs of its source meanwhile.
  async * _watched () {
    const blobs = this.includeProgress && this.src.getBlobs ? await this.src.getBlobs() : null
    const download = (index, bytes) => {
      this.downloadedBlocks++
      this.downloadedBytes += bytes
      this.downloadSpeed(bytes)
    }
    const upload = (index, bytes) => {
      this.uploadedBlocks++
      this.uploadedBytes += bytes
      this.uploadSpeed(bytes)
    }
    if (blobs !== null) {
      blobs.core.on('download', download)
      blobs.core.on('upload', upload)
      this._expect().catch(core.noop)
    }
    try {
      yield * this._mirror()
    } finally {
      if (blobs !== null) {
        blobs.core.off('download', download)
        blobs.core.off('upload', upload)
      }
      for (const monitor of [...this.monitors]) monitor.destroy()
    }
  }

  // Adds up the blocks that are not here yet.
  async _expect () {
    const blobs = await this.src.getBlobs()
    let missing = 0
    for (const prefix of [].concat(this.prefix)) {
      for await (const { value } of this.src.list(prefix)) {
        if (!value.blob) continue
        const { blockOffset, blockLength } = value.blob
        if (await blobs.core.has(blockOffset, blockOffset + blockLength)) continue
        for (let at = blockOffset; at < blockOffset + blockLength; at++) if (!(await blobs.core.has(at))) missing++
      }
    }
    this.downloadedBlocksEstimate = this.downloadedBlocks + missing
    this.preloaded = true
    for (const monitor of this.monitors) monitor.emit('preloaded')
  }

  [Symbol.asyncIterator] () {
    return this.iterator
  }

  async done () {
    while (true) {
      const { done } = await this.iterator.next()
      if (done) break
    }
  }

  async * _mirror () {
    await Promise.all([this.src.ready(), this.dst.ready()])
    if (!this.dryRun && this.dst.writable === false) throw new Error('Destination must be writable')
    if (this.filter !== null || typeof this.ignore === 'function' || this.transformers.length > 0) {
      yield * this._chosen()
      return
    }
    yield * this._run({ entries: this.entries === null ? undefined : this.entries.map((entry) => typeof entry === 'string' ? entry : entry.key), prune: this.prune })
  }

  async * _run (which) {
    const options = {
      ...which,
      source: { handle: this.src._handle, local: !!this.src.isLocal },
      target: { handle: this.dst._handle, local: !!this.dst.isLocal },
      prefixes: [].concat(this.prefix),
      ignore: this.ignore && typeof this.ignore !== 'function' ? [].concat(this.ignore) : undefined,
      dryRun: this.dryRun,
      dedup: this.dedup
    }
    const events = new Pulled(() => core.mirror(options), null, { highWaterMark: 64, byteLength: () => 1 })
    for await (const event of events) {
      if (event.op === 'skip') continue
      if (event.op !== 'remove') this.count.files++
      if (event.op !== 'equal') {
        this.count[event.op]++
        this.bytesAdded += event.bytesAdded
        this.bytesRemoved += event.bytesRemoved
      }
      if (event.op !== 'equal' || this.includeEquals) yield event
    }
    this.finished = true
  }

  // The program says file by file what it wants: a dry run removes nothing, then what is wanted is written.
  async * _chosen () {
    const paths = this.ignore && typeof this.ignore !== 'function' ? [].concat(this.ignore).map((path) => '/' + path.replace(/^\/+|\/+$/g, '')) : []
    const leftOut = (key) => typeof this.ignore === 'function' ? this.ignore(key) : paths.some((path) => key === path || key.startsWith(path + '/'))
    if (this.prune) {
      for (const prefix of [].concat(this.prefix)) {
        for await (const entry of this.dst.list(prefix)) {
          if (leftOut(entry.key) || (await this.src.entry(entry.key)) !== null) continue
          const bytesRemoved = entry.value.blob ? entry.value.blob.byteLength : 0
          if (!this.dryRun) await this.dst.del(entry.key)
          this.count.remove++
          this.bytesRemoved += bytesRemoved
          yield { op: 'remove', key: entry.key, bytesAdded: 0, bytesRemoved }
        }
      }
    }
    const wanted = []
    for (const prefix of [].concat(this.prefix)) {
      for await (const { key } of this.src.list(prefix)) {
        if (!leftOut(key) && (this.filter === null || this.filter(key))) wanted.push(key)
      }
    }
    if (this.transformers.length > 0) yield * this._transformed(wanted)
    else yield * this._run({ entries: wanted, prune: false })
  }

  // Through streams of the program: what they make of a file is only known when it is written, so every file is.
  async * _transformed (keys) {
    for (const key of keys) {
      const [entry, there] = [await this.src.entry(key), await this.dst.entry(key)]
      if (entry === null) continue
      const [op, bytesAdded, bytesRemoved] = [there === null ? 'add' : 'change', lengthOf(entry), lengthOf(there)]
      this.count.files++
      this.count[op]++
      this.bytesAdded += bytesAdded
      this.bytesRemoved += bytesRemoved
      yield { op, key, bytesAdded, bytesRemoved }
      if (this.dryRun) continue
      const { executable, linkname, metadata } = entry.value
      if (linkname) {
        await this.dst.symlink(key, linkname)
        continue
      }
      const streams = this.transformers.map((transformer) => {
        if (typeof transformer !== 'function') throw new Error('transformer must be a function')
        const stream = transformer(key)
        if (stream !== null && !isStream(stream)) throw new Error('transformer must return a stream')
        return stream
      })
      const through = streams.filter((stream) => stream !== null)
      await pipelinePromise(this.src.createReadStream(key), ...through, this.dst.createWriteStream(key, { executable, metadata, dedup: this.dedup }))
    }
    this.finished = true
  }
}

function lengthOf (entry) {
  return entry !== null && entry.value.blob ? entry.value.blob.byteLength : 0
}

module.exports = MirrorDrive
module.exports.default = MirrorDrive
