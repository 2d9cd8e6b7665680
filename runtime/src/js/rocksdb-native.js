// rocksdb-native 3.18, on a store of pome: the column family `corestore` is hypercore-storage's, whose rows are kept in the layout that native hypercores have too; another
// one is an ordered map of its own in the same store. A flush is answered when it is on disk. Settings of RocksDB's are taken and mean nothing.

const State = require('rocksdb-native/state')
const Iterator = require('rocksdb-native/iterator')
const { ReadBatch, WriteBatch } = require('rocksdb-native/batch')

class ColumnFamily {
  constructor (name, options = {}) {
    this.name = name
    this.options = options
  }

  cloneSettings (name) {
    return new ColumnFamily(name, this.options)
  }

  destroy () {}
}

class RocksDB {
  constructor (path, options = {}) {
    const { state = new State(this, path, options, ColumnFamily), columnFamily, moment = null, keyEncoding = null, valueEncoding = null } = options
    this._state = state
    this._snapshot = moment
    this._columnFamily = state.column(columnFamily)
    this._keyEncoding = keyEncoding
    this._valueEncoding = valueEncoding
    this._index = -1
    state.add(this)
  }

  get opened () {
    return this._state.opened
  }

  get closed () {
    return this.isRoot() ? this._state.closed : this._index === -1
  }

  get path () {
    return this._state.path
  }

  get stats () {
    return this._state.stats
  }

  get snapshotted () {
    return this._snapshot !== null
  }

  get defaultColumnFamily () {
    return this._columnFamily
  }

  session (options = {}) {
    check(this)
    const {
      columnFamily = this._columnFamily,
      snapshot = this._snapshot !== null,
      keyEncoding = this._keyEncoding,
      valueEncoding = this._valueEncoding
    } = options
    const moment = snapshot ? this._snapshot || this._state.moment() : null
    return new RocksDB(null, { state: this._state, columnFamily, moment, keyEncoding, valueEncoding })
  }

  columnFamily (columnFamily, options) {
    return this.session({ ...options, columnFamily })
  }

  snapshot () {
    return this.session({ snapshot: true })
  }

  isRoot () {
    return this === this._state.db
  }

  ready () {
    return this._state.ready()
  }

  async close ({ force = false } = {}) {
    if (!this._state.opened) await this._state.ready()
    if (this._index !== -1) this._state.remove(this)
    if (force) await this._state.closeSessions()
    if (this.isRoot()) await this._state.close()
  }

  async suspend () {
    check(this)
    await this._state.suspend()
  }

  async resume () {
    check(this)
    await this._state.resume()
  }

  isIdle () {
    return this._state.handles.isIdle()
  }

  idle () {
    return this._state.handles.idle()
  }

  iterator (range, options) {
    check(this)
    return new Iterator(this, { ...range, ...options })
  }

  async * keys (range, options) {
    for await (const { key } of this.iterator(range, { ...options, values: false })) yield key
  }

  async peek (range, options) {
    for await (const entry of this.iterator({ ...range, ...options, limit: 1 })) return entry
    return null
  }

  read (options) {
    check(this)
    return new ReadBatch(this, options)
  }

  write (options) {
    check(this)
    return new WriteBatch(this, options)
  }

  async flush () {
    check(this)
    await this._state.flush()
  }

  async get (key, options) {
    const batch = this.read({ ...options, autoDestroy: true })
    const value = batch.get(key)
    batch.tryFlush()
    return value
  }

  async put (key, value, options) {
    const batch = this.write({ ...options, autoDestroy: true })
    batch.tryPut(key, value)
    await batch.flush()
  }

  async delete (key, options) {
    const batch = this.write({ ...options, autoDestroy: true })
    batch.tryDelete(key)
    await batch.flush()
  }

  async deleteRange (start, end, options) {
    const batch = this.write({ ...options, autoDestroy: true })
    batch.tryDeleteRange(start, end)
    await batch.flush()
  }

  async compact () {
    check(this)
    await this._state.compact()
  }

  // The store empties its own files; there is no part of it to be compacted alone.
  async compactRange () {
    check(this)
    await this._state.ready()
  }

  async approximateSize () {
    return this._state.size()
  }

  diagnostics () {
    return this._state.diagnostics()
  }

  _ref () {
    this._state.handles.inc()
  }

  _unref () {
    this._state.handles.dec()
  }
}

function check (db) {
  if (db._state.closing || db._index === -1) throw new Error('RocksDB session is closed')
}

// Settings of a filter, which a store of pome chooses itself.
class FilterPolicy {
  constructor (bitsPerKey) {
    this.bitsPerKey = bitsPerKey
  }
}

module.exports = exports = RocksDB

exports.ColumnFamily = ColumnFamily
exports.BloomFilterPolicy = class BloomFilterPolicy extends FilterPolicy {}
exports.RibbonFilterPolicy = class RibbonFilterPolicy extends FilterPolicy {}
exports.constants = {
  walRecoveryMode: {
    TOLERATE_CORRUPTED_TAIL_RECORDS: 0,
    ABSOLUTE_CONSISTENCY: 1,
    POINT_IN_TIME: 2,
    SKIP_ANY_CORRUPTED_RECORDS: 3
  },
  garbageCollectionPolicy: { FORCE: 0, DISABLE: 1, DEFAULT: 2 },
  bottommostLevelCompaction: { SKIP: 0, IF_HAVE_COMPACTION_FILTER: 1, FORCE: 2, FORCE_OPTIMIZED: 3, NONE: 0 },
  statsLevel: { DISABLE_ALL: 0, EXCEPT_HISTOGRAM_OR_TIMERS: 2, ALL: 6 }
}
