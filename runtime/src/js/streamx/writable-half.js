// streamx 2.28: the writable half of a stream.

const Half = require('streamx/half')
const Queue = require('streamx/queue')
const {
  DESTROYING,
  WRITE_ACTIVE,
  WRITE_UPDATING,
  WRITE_PRIMARY,
  WRITE_QUEUED,
  WRITE_UNDRAINED,
  WRITE_DONE,
  WRITE_EMIT_DRAIN,
  WRITE_NEXT_TICK,
  WRITE_WRITING,
  WRITE_FINISHING,
  WRITE_CORKED,
  DESTROY_STATUS,
  OPEN_STATUS,
  DONE
} = require('streamx/state')

const BITS = { UPDATING: WRITE_UPDATING, TICK: WRITE_NEXT_TICK, PRIMARY: WRITE_PRIMARY }

// A write is dropped once the stream ends or is destroyed.
const CLOSED_TO_DATA = WRITE_FINISHING | WRITE_DONE | DESTROY_STATUS
const MAY_WRITE = OPEN_STATUS | WRITE_ACTIVE | WRITE_QUEUED | WRITE_CORKED
const MAY_FINISH = OPEN_STATUS | WRITE_FINISHING | WRITE_QUEUED | WRITE_ACTIVE | WRITE_DONE
const MAY_DRAIN = WRITE_QUEUED | WRITE_UNDRAINED | OPEN_STATUS | WRITE_ACTIVE
const WRITING = WRITE_ACTIVE | WRITE_WRITING
const NOT_WRITING = ~WRITING
const MORE_QUEUED = WRITE_QUEUED | WRITE_ACTIVE
const BUSY = WRITE_PRIMARY | WRITE_ACTIVE

module.exports = class WritableHalf extends Half {
  constructor(stream, opts = {}) {
    const { highWaterMark = 16384, map, mapWritable, byteLength, byteLengthWritable } = opts || {}
    super(stream, BITS, byteLengthWritable || byteLength, mapWritable || map)
    this.highWaterMark = highWaterMark
    this.queue = new Queue()
    this.drains = null
    this.afterWrite = (err) => this._written(err)
  }

  get ending() {
    return (this.stream._duplexState & WRITE_FINISHING) !== 0
  }

  get ended() {
    return (this.stream._duplexState & WRITE_DONE) !== 0
  }

  // Queues a chunk; false when the caller had better wait for 'drain'.
  push(data) {
    const { stream } = this
    if ((stream._duplexState & CLOSED_TO_DATA) !== 0) return false
    if (this.map !== null) data = this.map(data)

    this.buffered += this.byteLength(data)
    this.queue.push(data)

    const room = this.buffered < this.highWaterMark
    stream._duplexState |= room ? WRITE_QUEUED : WRITE_QUEUED | WRITE_UNDRAINED
    return room
  }

  shift() {
    const data = this.queue.shift()
    this.buffered -= this.byteLength(data)
    if (this.queue.length === 0) this.stream._duplexState &= ~WRITE_QUEUED
    return data
  }

  end(data) {
    if (typeof data === 'function') this.stream.once('finish', data)
    else if (data !== undefined && data !== null) this.push(data)
    this.stream._duplexState = (this.stream._duplexState | WRITE_FINISHING) & ~WRITE_PRIMARY
  }

  // Hands this chunk and all queued ones to `_writev` at once.
  autoBatch(data, cb) {
    const { stream } = this
    const batch = [data]
    while ((stream._duplexState & MAY_WRITE) === MORE_QUEUED) {
      batch.push(this.shift())
    }
    if ((stream._duplexState & OPEN_STATUS) !== 0) cb(null)
    else stream._writev(batch, cb)
  }

  update() {
    const { stream } = this
    stream._duplexState |= WRITE_UPDATING
    do {
      while ((stream._duplexState & MAY_WRITE) === WRITE_QUEUED) {
        const data = this.shift()
        stream._duplexState |= WRITING
        stream._write(data, this.afterWrite)
      }
      if ((stream._duplexState & BUSY) === 0) this._turn()
    } while (this._again())
    stream._duplexState &= ~WRITE_UPDATING
  }

  // What there is to do besides data.
  _turn() {
    const { stream } = this
    if ((stream._duplexState & MAY_FINISH) === WRITE_FINISHING) {
      stream._duplexState |= WRITE_ACTIVE
      stream._final((err) => this._finished(err))
    } else {
      this._openOrDestroy()
    }
  }

  _written(err) {
    const { stream } = this
    if (err) stream.destroy(err)
    stream._duplexState &= NOT_WRITING
    if (this.drains !== null) this._countDrains()

    if ((stream._duplexState & MAY_DRAIN) === WRITE_UNDRAINED) {
      stream._duplexState &= ~WRITE_UNDRAINED
      if ((stream._duplexState & WRITE_EMIT_DRAIN) !== 0) stream.emit('drain')
    }
    this.updateCallback()
  }

  _finished(err) {
    const { stream } = this
    if (err) stream.destroy(err)

    if ((stream._duplexState & DESTROY_STATUS) === 0) {
      stream._duplexState |= WRITE_DONE
      stream.emit('finish')
    }
    if ((stream._duplexState & (DESTROY_STATUS | DONE)) === DONE) stream._duplexState |= DESTROYING
    stream._duplexState &= ~(WRITE_ACTIVE | WRITE_FINISHING)

    if ((stream._duplexState & WRITE_UPDATING) === 0) this.update()
    else this.updateNextTick()
  }

  _countDrains() {
    for (const drain of this.drains) drain.writes--
    while (this.drains.length > 0 && this.drains[0].writes <= 0) this.drains.shift().resolve(true)
  }

  dropDrains() {
    while (this.drains !== null && this.drains.length > 0) this.drains.shift().resolve(false)
  }
}
