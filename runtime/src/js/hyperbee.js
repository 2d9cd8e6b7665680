// Hyperbees of the Rust core under the face of npm hyperbee 2.27.

const core = require('pome-core')
const Resource = require('pome-core/resource')
const codec = require('pome-core/codec')
const Pulled = require('pome-core/pulled')
const EventEmitter = require('bare-events')

// Keys and values as a call has them: its own encodings, or those of its bee.
class Encodings {
  constructor (key, value) {
    this.key = key
    this.value = value
  }

  static of (bee, options) {
    const { keyEncoding, valueEncoding } = options || {}
    if (keyEncoding === undefined && valueEncoding === undefined) return bee._encodings
    const own = bee._encodings
    return new Encodings(
      keyEncoding === undefined || keyEncoding === null ? own.key : codec.from(keyEncoding),
      valueEncoding === undefined || valueEncoding === null ? own.value : codec.from(valueEncoding)
    )
  }

  toKey (key) {
    return codec.encode(this.key, key)
  }

  toValue (value) {
    return value === null || value === undefined ? null : codec.encode(this.value, value)
  }

  fromKey (bytes) {
    return codec.decode(this.key, bytes)
  }

  entry (raw) {
    if (raw === null) return null
    const [seq, key, value] = raw
    return { seq, key: this.fromKey(key), value: codec.decode(this.value, value) }
  }

  change (raw) {
    const [seq, key, value, isPut] = raw
    return { type: isPut ? 'put' : 'del', seq, key: this.fromKey(key), value: codec.decode(this.value, value) }
  }

  range (range, options) {
    const all = { ...range, ...options }
    if (this.key !== null && this.key.encodeRange) {
      const { gt, gte, lt, lte } = all
      Object.assign(all, this.key.encodeRange({ gt, gte, lt, lte }))
    }
    const key = (key) => key === undefined || key === null ? undefined : this.toKey(key)
    const { reverse, limit, wait, timeout, update } = all
    return { gt: key(all.gt), gte: key(all.gte), lt: key(all.lt), lte: key(all.lte), reverse, limit, wait, timeout, update }
  }
}

// Changes of a range: an async iterator of `[current, previous]`.
class Watcher extends EventEmitter {
  constructor (bee, range, options) {
    super()
    this.opened = false
    this.closed = false
    this._bee = bee
    this._map = options.map || null
    this._onchange = options.onchange || null
    this._id = 0
    this._pair = null
    this._news = []
    this._waiting = []
    this._views = []
    this._opening = bee.ready().then(() => {
      if (this.closed) return
      this._id = core.own(this, core.beeWatch(bee._handle, Encodings.of(bee, options).range(range, {})))
      this.opened = true
      this._hear()
    })
    this._opening.catch(core.noop)
  }

  ready () {
    return this._opening
  }

  _hear () {
    core.beeChanged(this._id, (error, pair) => {
      if (this.closed) return
      if (error) {
        for (const { reject } of this._waiting.splice(0)) reject(error)
        return
      }
      if (pair === null) return this.close()
      const views = pair.map((handle) => this._bee._view(handle, {}))
      const value = this._map === null ? views : views.map(this._map)
      this._hear()
      this.emit('update')
      if (this._onchange !== null) this._onchange(value)
      const waiting = this._waiting.shift()
      if (waiting) waiting.resolve({ done: false, value: this._shown(views, value) })
      else this._news = [[views, value]] // what nobody has read is one change
    })
  }

  // What was shown before is closed when the next is.
  _shown (views, value) {
    for (const view of this._views) view.close().catch(core.noop)
    this._views = views
    return value
  }

  next () {
    const news = this._news.shift()
    if (news) return Promise.resolve({ done: false, value: this._shown(...news) })
    if (this.closed) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => this._waiting.push({ resolve, reject }))
  }

  async return () {
    await this.close()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator] () {
    return this
  }

  async close () {
    if (this.closed) return
    this.closed = true
    if (this._id !== 0) core.disown(this, this._id)
    this._bee._watchers.delete(this)
    this._shown([], null)
    for (const { resolve } of this._waiting.splice(0)) resolve({ done: true, value: undefined })
    this.emit('close')
  }

  destroy () {
    return this.close()
  }
}

// Follows one entry.
class EntryWatcher extends EventEmitter {
  constructor (bee, key, options) {
    super()
    this.key = key
    this.node = null
    this.closed = false
    this._bee = bee
    this._options = options
    this._changed = () => this._update()
  }

  async _start () {
    this.node = await this._bee.get(this.key, this._options)
    this._bee.core.on('append', this._changed)
    this._bee.core.on('truncate', this._changed)
    return this
  }

  async _update () {
    try {
      const node = await this._bee.get(this.key, { ...this._options, update: false })
      if (this.closed || (node && node.seq) === (this.node && this.node.seq)) return
      this.node = node
      this.emit('update')
    } catch (error) {
      if (!this.closed) this.emit('error', error)
    }
  }

  async close () {
    this.closed = true
    this._bee.core.off('append', this._changed)
    this._bee.core.off('truncate', this._changed)
    this._bee._watchers.delete(this)
  }
}

class Batch {
  constructor (bee, options = {}) {
    this.tree = bee
    this.keyEncoding = options.keyEncoding
    this.valueEncoding = options.valueEncoding
    this._encodings = Encodings.of(bee, options)
    this._id = 0
    this._closed = false
    this._opening = bee.ready().then(() => { this._id = core.own(this, core.batchOpen(bee._handle)) })
    this._opening.catch(core.noop)
  }

  ready () { return this._opening }

  get core () { return this.tree.core }
  get feed () { return this.tree.core }

  get version () {
    const version = this._id === 0 ? null : core.batchVersion(this._id)
    return version === null ? this.tree.version : version
  }

  async lock () {
    await this._opening
    this.tree._writable()
    await core.batchLock(this._id)
  }

  async put (key, value, options = {}) {
    if (this._id === 0) await this._opening
    this.tree._writable()
    const encodings = Encodings.of(this, options)
    if (options.cas) {
      await core.batchLock(this._id)
      const previous = encodings.entry(await core.batchGet(this._id, encodings.toKey(key)))
      const next = { seq: this.version, key, value: value === undefined ? null : value }
      if (previous !== null && !(await options.cas(previous, next))) return
    }
    await core.batchPut(this._id, encodings.toKey(key), { value: encodings.toValue(value) })
  }

  async del (key, options = {}) {
    if (this._id === 0) await this._opening
    this.tree._writable()
    const encodings = Encodings.of(this, options)
    if (options.cas) {
      await core.batchLock(this._id)
      const previous = encodings.entry(await core.batchGet(this._id, encodings.toKey(key)))
      const next = { seq: this.version, key, value: null }
      if (previous === null || !(await options.cas(previous, next))) return
    }
    await core.batchDel(this._id, encodings.toKey(key))
  }

  async get (key, options) {
    if (this._id === 0) await this._opening
    const encodings = Encodings.of(this, options)
    return encodings.entry(await core.batchGet(this._id, encodings.toKey(key)))
  }

  async peek (range, options) {
    if (this._id === 0) await this._opening
    const encodings = Encodings.of(this, options)
    return encodings.entry(await core.batchPeek(this._id, encodings.range(range, options)))
  }

  getBySeq (seq, options) {
    return this.tree.getBySeq(seq, options)
  }

  createReadStream (range, options) {
    const encodings = Encodings.of(this, { ...range, ...options })
    const { Readable } = require('streamx')
    let all = null
    const batch = this
    return new Readable({
      read (done) {
        const more = async () => {
          if (all === null) {
            await batch._opening
            all = await core.batchRange(batch._id, encodings.range(range, options))
          }
          this.push(all.length === 0 ? null : encodings.entry(all.shift()))
        }
        more().then(() => done(null), done)
      }
    })
  }

  async flush () {
    await this._opening
    this._closed = true
    await core.batchFlush(this._id)
  }

  async close () {
    await this._opening
    if (this._closed) return
    this._closed = true
    await core.batchClose(this._id)
  }

  destroy () {
    this.close().catch(core.noop)
  }
}

class Hyperbee extends Resource {
  constructor (feed, options = {}) {
    super()
    this.feed = feed
    this.keyEncoding = options.keyEncoding || null
    this.valueEncoding = options.valueEncoding || null
    this.extension = null
    this.metadata = options.metadata || null
    this.readonly = !!options.readonly
    this.prefix = options.prefix || null
    this.alwaysDuplicate = options.alwaysDuplicate !== false
    this.sep = options.sep === undefined ? Buffer.alloc(1) : Buffer.from(options.sep)
    this._options = options
    this._parent = options[PARENT] || null
    this._encodings = new Encodings(codec.from(options.keyEncoding), codec.from(options.valueEncoding))
    this._handle = 0
    this._watchers = new Set()
    this._ownsCore = !this._parent && options[HANDLE] === undefined
    this._checkout = options.checkout || 0
    this.ready().catch(core.noop)
  }

  async _open () {
    const options = this._options
    if (options[HANDLE] !== undefined) {
      this._handle = core.own(this, await options[HANDLE])
    } else if (this._parent !== null) {
      await this._parent.ready()
      this._handle = core.own(this, core.beeView(this._parent._handle, options[VIEW] || {}))
    } else {
      await this.feed.ready()
      const { alwaysDuplicate, wait, timeout } = options
      const contentFeed = this.metadata && this.metadata.contentFeed
      let handle = core.beeOpen(this.feed._handle, { alwaysDuplicate, readonly: this.readonly, wait, timeout, contentFeed })
      if (this.prefix !== null || (this._checkout && this._checkout !== -1)) {
        const whole = handle
        const prefix = this.prefix === null ? undefined : this.prefix
        handle = core.beeView(whole, { prefix, checkout: this._checkout && this._checkout !== -1 ? this._checkout : undefined })
        core.letGo(whole)
      }
      this._handle = core.own(this, handle)
    }
  }

  async _close () {
    for (const watcher of [...this._watchers]) await watcher.close()
    if (this._ownsCore) await this.feed.close()
  }

  get core () { return this.feed }
  get key () { return this.feed.key }
  get discoveryKey () { return this.feed.discoveryKey }
  get id () { return this.feed.id }
  get version () { return this._handle === 0 ? Math.max(1, this._checkout || this.feed.length) : core.beeVersion(this._handle) }
  get writable () { return !this.readonly && !this._isView && this.feed.writable }
  get readable () { return this.feed.readable }

  _writable () {
    if (this._isView) throw new Error('Checkout is read-only')
    if (this.readonly) throw new Error('Hyperbee is marked as read-only')
  }

  async _call () {
    if (this.closing !== null) {
      const error = new Error('SESSION_CLOSED: The bee is closed')
      error.code = 'SESSION_CLOSED'
      throw error
    }
    if (!this.opened) await this.ready()
  }

  async put (key, value, options = {}) {
    await this._call()
    this._writable()
    if (options.cas) return this._change((batch) => batch.put(key, value, options))
    const encodings = Encodings.of(this, options)
    await core.beePut(this._handle, encodings.toKey(key), { value: encodings.toValue(value) })
  }

  async del (key, options = {}) {
    await this._call()
    this._writable()
    if (options.cas) return this._change((batch) => batch.del(key, options))
    await core.beeDel(this._handle, Encodings.of(this, options).toKey(key))
  }

  async _change (change) {
    const batch = this.batch()
    try {
      await batch.lock()
      await change(batch)
      await batch.flush()
    } finally {
      await batch.close()
    }
  }

  async get (key, options = {}) {
    await this._call()
    const encodings = Encodings.of(this, options)
    const { wait, timeout, update } = options
    const entry = encodings.entry(await core.beeGet(this._handle, encodings.toKey(key), { wait, timeout, update }))
    if (entry !== null && options.onseq) options.onseq(entry.seq)
    return entry !== null && options.finalize ? options.finalize(entry) : entry
  }

  async getBySeq (seq, options) {
    await this._call()
    const { key, value } = Encodings.of(this, options).entry(await core.beeGetBySeq(this._handle, seq))
    return { key, value }
  }

  async peek (range, options) {
    await this._call()
    const encodings = Encodings.of(this, { ...range, ...options })
    return encodings.entry(await core.beePeek(this._handle, encodings.range(range, options)))
  }

  batch (options) {
    return new Batch(this, options)
  }

  createReadStream (range, options) {
    const all = { ...range, ...options }
    const encodings = Encodings.of(this, all)
    return new Pulled(() => this._call().then(() => core.beeRange(this._handle, encodings.range(range, options))), (raw) => encodings.entry(raw), { signal: all.signal })
  }

  createRangeIterator (range, options) {
    const stream = this.createReadStream(range, options)
    const iterator = stream[Symbol.asyncIterator]()
    return {
      async open () { await 0 },
      async next () {
        const { done, value } = await iterator.next()
        return done ? null : value
      },
      async close () { stream.destroy() }
    }
  }

  createHistoryStream (options = {}) {
    const { live = false, reverse = false, gt, gte = options.since, lt = options.end, lte, limit } = options
    if (live && reverse) throw new Error('Cannot have both live and reverse enabled')
    const encodings = Encodings.of(this, options)
    const open = () => this._call().then(() => core.beeHistory(this._handle, { live, reverse, gt, gte, lt, lte, limit }))
    return new Pulled(open, (raw) => encodings.change(raw), { live, signal: options.signal })
  }

  createDiffStream (right, range, options) {
    const encodings = Encodings.of(this, { ...range, ...options })
    const open = async () => {
      await this._call()
      const bounds = encodings.range(range, options)
      if (typeof right === 'number') return core.beeDiff(this._handle, { ...bounds, version: right })
      await right.ready()
      return core.beeDiff(this._handle, { ...bounds, other: right._handle })
    }
    return new Pulled(open, ([left, right]) => ({ left: encodings.entry(left), right: encodings.entry(right) }))
  }

  watch (range, options = {}) {
    if (this._isView || this._parent !== null) throw new Error('Can only watch the main bee instance')
    const watcher = new Watcher(this, range, { ...range, ...options })
    this._watchers.add(watcher)
    return watcher
  }

  async getAndWatch (key, options) {
    if (this._isView) throw new Error('Can only watch the main bee instance')
    await this._call()
    const watcher = new EntryWatcher(this, key, options)
    this._watchers.add(watcher)
    return watcher._start()
  }

  // Another view of this bee; `handle` where it is there already.
  _view (handle, view, options = {}) {
    const { keyEncoding = this.keyEncoding, valueEncoding = this.valueEncoding } = options
    const made = { ...this._options, keyEncoding, valueEncoding, checkout: view.checkout, prefix: null, [VIEW]: view }
    if (handle === null) made[PARENT] = this
    else made[HANDLE] = handle
    const bee = new Hyperbee(this.feed, made)
    bee.prefix = this.prefix
    return bee
  }

  checkout (version, options) {
    const view = this._view(null, { checkout: version }, options)
    view._isView = true
    return view
  }

  snapshot (options) {
    return this.checkout(this.version, options)
  }

  sub (name, options = {}) {
    const sep = options.sep === undefined ? this.sep : Buffer.from(options.sep)
    const prefix = Buffer.from(name)
    const bee = this._view(null, { prefix, sep }, options)
    bee.sep = sep
    bee.prefix = Buffer.concat([this.prefix === null ? Buffer.alloc(0) : Buffer.from(this.prefix), prefix, sep])
    bee._isView = this._isView
    return bee
  }

  async update (options) {
    await this._call()
    return this.feed.update(options)
  }

  async getHeader () {
    await this._call()
    return core.beeHeader(this._handle)
  }

  async clearUnlinked (options = {}) {
    await this._call()
    return core.beeClearUnlinked(this._handle, { gte: options.gte, lt: options.lt })
  }

  replicate (initiator, options) {
    return this.feed.replicate(initiator, options)
  }

  static async isHyperbee (feed, options = {}) {
    await feed.ready()
    return core.beeIs(feed._handle, { wait: options.wait, timeout: options.timeout })
  }
}

Hyperbee.prototype._isView = false

const PARENT = Symbol('pome.parent')
const VIEW = Symbol('pome.view')
const HANDLE = Symbol('pome.handle')

Hyperbee.HANDLE = HANDLE

module.exports = Hyperbee
module.exports.default = Hyperbee
