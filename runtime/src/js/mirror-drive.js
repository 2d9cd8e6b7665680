// Makes one drive like another, natively, under the face of npm mirror-drive 1.14.

const core = require('pome-core')
const Pulled = require('pome-core/pulled')

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
    this.count = { files: 0, add: 0, remove: 0, change: 0 }
    this.bytesAdded = 0
    this.bytesRemoved = 0
    this.iterator = this._mirror()
    this.finished = false
    this.peers = []
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
    if (this.filter !== null || typeof this.ignore === 'function') {
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
    const leftOut = (key) => typeof this.ignore === 'function' && this.ignore(key)
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
    yield * this._run({ entries: wanted, prune: false })
  }
}

module.exports = MirrorDrive
module.exports.default = MirrorDrive
