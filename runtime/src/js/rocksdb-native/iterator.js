// A walk over a range, as a stream of `{ key, value }`.

const rocks = require('pome-npm')
const core = require('pome-core')
const c = require('compact-encoding')
const { Readable } = require('streamx')

module.exports = class Iterator extends Readable {
  constructor (db, options = {}) {
    const { gt = null, gte = null, lt = null, lte = null, reverse = false, values = true, limit = Infinity, capacity = 64 } = options
    super()
    db._ref()
    this._db = db
    this._range = { gt: this._bound(gt), gte: this._bound(gte), lt: this._bound(lt), lte: this._bound(lte) }
    this._reverse = reverse
    this._values = values
    this._limit = limit < 0 ? Infinity : limit
    this._capacity = capacity
    this._id = 0
  }

  async ready () {
    if (this._db._state.opened === false) await this._db._state.ready()
  }

  _bound (key) {
    if (!key) return null
    if (this._db._keyEncoding !== null) return c.encode(this._db._keyEncoding, key)
    return typeof key === 'string' ? Buffer.from(key) : key
  }

  async _open (cb) {
    const state = this._db._state
    try {
      if (state.opened === false) await state.ready()
      if (state.resumed !== null && !(await state.awake())) throw new Error('RocksDB session is closed')
      const moment = this._db._snapshot
      const id = rocks.iterate(state.id, moment === null ? 0 : moment.id, this._db._columnFamily.name, {
        ...this._range,
        reverse: this._reverse,
        limit: this._limit === Infinity ? undefined : this._limit
      })
      this._id = core.own(this, id)
    } catch (error) {
      return cb(error)
    }
    cb(null)
  }

  _read (cb) {
    let rows
    try {
      rows = rocks.next(this._id, this._capacity)
    } catch (error) {
      return cb(error)
    }
    const { _keyEncoding: keys, _valueEncoding: values } = this._db
    for (let i = 0; i < rows.length; i += 2) {
      const key = keys === null ? rows[i] : c.decode(keys, rows[i])
      const value = this._values === false ? null : values === null ? rows[i + 1] : c.decode(values, rows[i + 1])
      this.push({ key, value })
    }
    if (rows.length < this._capacity * 2) this.push(null)
    cb(null)
  }

  _destroy (cb) {
    if (this._id !== 0) core.disown(this, this._id)
    this._id = 0
    this._db._unref()
    cb(null)
  }
}
