// What the sessions of one database share: the store, and whether it is open.

const rocks = require('pome-npm')
const core = require('pome-core')
const Resource = require('pome-core/resource')

// How many there are of something, and when there are none.
class Counter {
  constructor () {
    this.count = 0
    this._waiting = []
  }

  inc () {
    this.count++
  }

  dec () {
    if (--this.count > 0) return
    for (const resolve of this._waiting.splice(0)) resolve()
  }

  isIdle () {
    return this.count === 0
  }

  idle () {
    if (this.count === 0) return Promise.resolve()
    return new Promise((resolve) => this._waiting.push(resolve))
  }
}

// The rows as they were when it was made; of a database that is still to be opened, when that happens.
class Moment {
  constructor (state) {
    this.id = 0
    if (state.opened) this.take(state)
  }

  take (state) {
    this.id = core.own(this, rocks.moment(state.id))
  }
}

module.exports = class State extends Resource {
  constructor (db, path, options, ColumnFamily) {
    super()
    const { columnFamily = new ColumnFamily('default', options), columnFamilies = [], readOnly = false, createIfMissing = true, store = path, lock = null } = options
    this.db = db
    this.path = path
    this.id = 0
    this.handles = new Counter()
    this.io = new Counter()
    this.sessions = []
    this.columns = [columnFamily]
    this.resumed = null
    this.stats = { gets: 0, puts: 0, deletes: 0, rangeDeletes: 0, readBatches: 0, writeBatches: 0 }
    this._ColumnFamily = ColumnFamily
    this._store = store
    this._readOnly = readOnly
    this._createIfMissing = createIfMissing
    this._lock = lock
    this._resume = null
    for (const column of columnFamilies) this.column(column)
  }

  column (wanted) {
    if (!wanted) return this.columns[0]
    if (typeof wanted !== 'string') {
      if (!this.columns.includes(wanted)) this.columns.push(wanted)
      return wanted
    }
    let column = this.columns.find((column) => column.name === wanted)
    if (column === undefined) {
      column = this.columns[0].cloneSettings(wanted)
      this.columns.push(column)
    }
    return column
  }

  moment () {
    return new Moment(this)
  }

  add (db) {
    db._index = this.sessions.push(db) - 1
  }

  remove (db) {
    const last = this.sessions.pop()
    if (last !== db) {
      last._index = db._index
      this.sessions[db._index] = last
    }
    db._index = -1
  }

  async closeSessions () {
    while (this.sessions.length > 0) await this.sessions[this.sessions.length - 1].close()
  }

  async _open () {
    if (this._lock !== null && typeof this._lock.ready === 'function') await this._lock.ready()
    const id = await rocks.open(this._store, { readOnly: this._readOnly, createIfMissing: this._createIfMissing })
    this.id = core.own(this, id)
    // Batches that wait for this are flushed as soon as it is there.
    this.opened = true
    for (const { _snapshot: moment } of this.sessions) {
      if (moment !== null && moment.id === 0) moment.take(this)
    }
  }

  async _close () {
    if (this._resume !== null) this._resume(false)
    await this.io.idle()
    await this.handles.idle()
    await this.closeSessions()
    if (this.id !== 0) await rocks.close(this.id)
    if (this._lock !== null) await this._lock.close()
  }

  // Resolves when work may go on; false when it is closed before.
  async awake () {
    while (this.resumed !== null) {
      if ((await this.resumed) === false) return false
    }
    return true
  }

  async suspend () {
    if (this.resumed !== null) return
    this.resumed = new Promise((resolve) => { this._resume = resolve })
    await this.io.idle()
    if (this.opened) await rocks.flush(this.id)
  }

  async resume () {
    if (this.resumed === null) return
    const resume = this._resume
    this.resumed = null
    this._resume = null
    resume(true)
  }

  async flush () {
    await this.ready()
    await rocks.flush(this.id)
  }

  async compact () {
    await this.ready()
    await rocks.compact(this.id)
  }

  async size () {
    await this.ready()
    return rocks.size(this.id)
  }

  diagnostics () {
    return {
      suspended: this.resumed !== null,
      suspending: this.resumed !== null,
      updating: false,
      resumedPending: this.resumed !== null,
      io: this.io.count,
      handles: this.handles.count,
      sessions: this.sessions.length
    }
  }
}
