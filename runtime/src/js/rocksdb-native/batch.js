// Reads and writes that are made together.

const rocks = require('pome-npm')
const c = require('compact-encoding')

const EMPTY = Buffer.alloc(0)
const [PUT, DELETE, DELETE_RANGE] = [0, 1, 2]

class Batch {
  constructor (db, { autoDestroy = false } = {}) {
    db._ref()
    this._db = db
    this._destroyed = false
    this._autoDestroy = autoDestroy
    this._busy = false
    this._promises = []
    this._operations = []
  }

  async ready () {
    if (this._db._state.opened === false) await this._db._state.ready()
  }

  destroy () {
    if (this._busy) throw new Error('Request in progress')
    if (this._destroyed) return
    this._destroyed = true
    this._settle(new Error('Batch is destroyed'), null)
    this._db._unref()
  }

  flush () {
    this._check()
    // Set first: what is answered at once is over before this returns.
    this._busy = true
    return this._flush()
  }

  tryFlush () {
    this.flush().catch(noop)
  }

  async _flush () {
    const state = this._db._state
    let failure = null
    let results = null
    state.io.inc()
    try {
      if (state.opened === false) await state.ready()
      if (state.resumed !== null && !(await state.awake())) throw new Error('RocksDB session is closed')
      results = this._run(state)
      if (results instanceof Promise) results = await results
    } catch (error) {
      failure = error
    } finally {
      state.io.dec()
    }
    this._settle(failure, results)
    this._busy = false
    if (this._autoDestroy) this.destroy()
    if (failure !== null) throw failure
  }

  _settle (failure, results) {
    const promises = this._promises
    this._promises = []
    this._operations = []
    for (let i = 0; i < promises.length; i++) {
      const promise = promises[i]
      if (promise === null) continue
      if (failure !== null) promise.reject(failure)
      else promise.resolve(results === null ? undefined : this._result(results[i]))
    }
  }

  _result () {}

  _check () {
    if (this._busy) throw new Error('Request in progress')
    if (this._destroyed) throw new Error('Batch is destroyed')
  }

  _promise () {
    return new Promise((resolve, reject) => this._promises.push({ resolve, reject }))
  }

  _key (key) {
    if (this._db._keyEncoding !== null) return c.encode(this._db._keyEncoding, key)
    return typeof key === 'string' ? Buffer.from(key) : key
  }

  _value (value) {
    if (this._db._valueEncoding !== null) return c.encode(this._db._valueEncoding, value)
    if (value === null || value === undefined) return EMPTY
    return typeof value === 'string' ? Buffer.from(value) : value
  }
}

exports.ReadBatch = class ReadBatch extends Batch {
  get (key) {
    this._check()
    const promise = this._promise()
    this._operations.push(this._key(key))
    return promise
  }

  _run (state) {
    const moment = this._db._snapshot
    state.stats.gets += this._operations.length
    state.stats.readBatches++
    return rocks.get(state.id, moment === null ? 0 : moment.id, this._db._columnFamily.name, this._operations)
  }

  _result (value) {
    if (value === null || this._db._valueEncoding === null) return value
    return c.decode(this._db._valueEncoding, value)
  }
}

exports.WriteBatch = class WriteBatch extends Batch {
  constructor (db, options) {
    super(db, options)
    this._counts = [0, 0, 0]
  }

  put (key, value) {
    return this._add(true, PUT, this._key(key), this._value(value))
  }

  tryPut (key, value) {
    this._add(false, PUT, this._key(key), this._value(value))
  }

  delete (key) {
    return this._add(true, DELETE, this._key(key), null)
  }

  tryDelete (key) {
    this._add(false, DELETE, this._key(key), null)
  }

  deleteRange (start, end) {
    return this._add(true, DELETE_RANGE, this._key(start), this._key(end))
  }

  tryDeleteRange (start, end) {
    this._add(false, DELETE_RANGE, this._key(start), this._key(end))
  }

  _add (isAwaited, kind, a, b) {
    this._check()
    this._counts[kind]++
    this._operations.push(kind, a, b)
    if (isAwaited) return this._promise()
    this._promises.push(null)
  }

  _run (state) {
    state.stats.puts += this._counts[PUT]
    state.stats.deletes += this._counts[DELETE]
    state.stats.rangeDeletes += this._counts[DELETE_RANGE]
    state.stats.writeBatches++
    this._counts.fill(0)
    return rocks.write(state.id, this._db._columnFamily.name, this._operations)
  }

  _result () {}
}

function noop () {}
