// streamx 2.28: the readable half of a stream.

const Half = require('streamx/half')
const Queue = require('streamx/queue')
const StreamError = require('streamx/error')
const { link } = require('streamx/pipeline')
const {
  OPENING,
  DESTROYING,
  READ_ACTIVE,
  READ_UPDATING,
  READ_PRIMARY,
  READ_QUEUED,
  READ_RESUMED,
  READ_PIPE_DRAINED,
  READ_ENDING,
  READ_EMIT_DATA,
  READ_EMIT_READABLE,
  READ_EMITTED_READABLE,
  READ_DONE,
  READ_NEXT_TICK,
  READ_NEEDS_PUSH,
  READ_READ_AHEAD,
  DESTROY_STATUS,
  OPEN_STATUS,
  DONE
} = require('streamx/state')

const BITS = { UPDATING: READ_UPDATING, TICK: READ_NEXT_TICK, PRIMARY: READ_PRIMARY }

const FLOWING = READ_RESUMED | READ_PIPE_DRAINED
const HAS_DATA = OPEN_STATUS | READ_DONE | READ_QUEUED
const MAY_READ =
  OPEN_STATUS | READ_ACTIVE | READ_ENDING | READ_DONE | READ_NEEDS_PUSH | READ_READ_AHEAD
const MAY_TELL = OPEN_STATUS | READ_EMIT_READABLE | READ_QUEUED | READ_EMITTED_READABLE
const MAY_END = OPEN_STATUS | READ_ENDING | READ_QUEUED
const READING = READ_ACTIVE | READ_NEEDS_PUSH
const BUSY = READ_PRIMARY | READ_ACTIVE
const UNTOLD = READ_EMIT_READABLE | READ_QUEUED
const PUSHED = ~READ_NEEDS_PUSH
const EMPTY = ~(READ_QUEUED | READ_EMITTED_READABLE)
const NOT_FLOWING = ~FLOWING
const NOT_ACTIVE = ~READ_ACTIVE

module.exports = class ReadableHalf extends Half {
  constructor(stream, opts = {}) {
    const { highWaterMark = 16384, map, mapReadable, byteLength, byteLengthReadable } = opts || {}
    super(stream, BITS, byteLengthReadable || byteLength, mapReadable || map)
    // A mark of 0 asks for reads one at a time, and only when somebody reads.
    this.highWaterMark = highWaterMark === 0 ? 1 : highWaterMark
    this.readAhead = highWaterMark > 0
    this.queue = new Queue()
    this.pipeTo = null
    this.afterRead = (err) => {
      if (err) stream.destroy(err)
      stream._duplexState &= NOT_ACTIVE
      if (this.readAhead === false && (stream._duplexState & READ_RESUMED) === 0) {
        stream._duplexState &= ~READ_READ_AHEAD
      }
      this.updateCallback()
    }
  }

  get ending() {
    return (this.stream._duplexState & READ_ENDING) !== 0
  }

  get ended() {
    return (this.stream._duplexState & READ_DONE) !== 0
  }

  pipe(to, cb) {
    if (this.pipeTo !== null) throw StreamError.BAD_ARGUMENT('Can only pipe to one destination')
    const { stream } = this

    stream._duplexState |= READ_PIPE_DRAINED
    this.pipeTo = to
    this.pipeline = link(stream, to, typeof cb === 'function' ? cb : null)
    to.on('drain', () => {
      stream._duplexState |= READ_PIPE_DRAINED
      this.updateCallback()
    })
    stream.emit('piping', to)
    to.emit('pipe', stream)
  }

  // Queues what was read; `null` ends the stream. False when the queue is full enough.
  push(data) {
    const { stream } = this
    if (data === null) {
      this.highWaterMark = 0
      stream._duplexState =
        (stream._duplexState | READ_ENDING) & ~(READ_PRIMARY | READ_NEEDS_PUSH)
      return false
    }

    if (this.map !== null) {
      data = this.map(data)
      // A map may swallow a chunk, as a decoder does with half a character.
      if (data === null) {
        stream._duplexState &= ~READ_NEEDS_PUSH
        return this.buffered < this.highWaterMark
      }
    }

    this.buffered += this.byteLength(data)
    this.queue.push(data)
    stream._duplexState = (stream._duplexState | READ_QUEUED) & PUSHED
    return this.buffered < this.highWaterMark
  }

  shift() {
    const data = this.queue.shift()
    this.buffered -= this.byteLength(data)
    // Once the queue is empty, 'readable' may be told again.
    if (this.queue.length === 0) {
      this.stream._duplexState &= EMPTY
    }
    return data
  }

  // Puts a chunk in front of the queue.
  unshift(data) {
    if (this.map !== null) data = this.map(data)
    const behind = []
    while (this.queue.length > 0) behind.push(this.queue.shift())

    this.buffered += this.byteLength(data)
    this.queue.push(data)
    for (const chunk of behind) this.queue.push(chunk)
    this.stream._duplexState = (this.stream._duplexState | READ_QUEUED) & ~READ_NEEDS_PUSH
  }

  // Takes a chunk by hand; `null` if there is none now.
  read() {
    const { stream } = this
    if ((stream._duplexState & HAS_DATA) === READ_QUEUED) return this._take()
    if (this.readAhead === false) {
      stream._duplexState |= READ_READ_AHEAD
      this.updateNextTick()
    }
    return null
  }

  _take() {
    const { stream } = this
    const data = this.shift()
    if (this.pipeTo !== null && this.pipeTo.write(data) === false) {
      stream._duplexState &= NOT_FLOWING
    }
    if ((stream._duplexState & READ_EMIT_DATA) !== 0) stream.emit('data', data)
    return data
  }

  _flow() {
    const { stream } = this
    while (
      (stream._duplexState & HAS_DATA) === READ_QUEUED &&
      (stream._duplexState & FLOWING) !== 0
    ) {
      this._take()
    }
  }

  update() {
    const { stream } = this
    stream._duplexState |= READ_UPDATING
    do {
      this._flow()
      while (
        this.buffered < this.highWaterMark &&
        (stream._duplexState & MAY_READ) === READ_READ_AHEAD
      ) {
        stream._duplexState |= READING
        stream._read(this.afterRead)
        this._flow()
      }
      if ((stream._duplexState & MAY_TELL) === UNTOLD) {
        stream._duplexState |= READ_EMITTED_READABLE
        stream.emit('readable')
      }
      if ((stream._duplexState & BUSY) === 0) this._turn()
    } while (this._again())
    stream._duplexState &= ~READ_UPDATING
  }

  // What there is to do besides data.
  _turn() {
    const { stream } = this
    if ((stream._duplexState & MAY_END) === READ_ENDING) {
      stream._duplexState = (stream._duplexState | READ_DONE) & ~READ_ENDING
      stream.emit('end')
      if ((stream._duplexState & (DESTROY_STATUS | DONE)) === DONE) {
        stream._duplexState |= DESTROYING
      }
      if (this.pipeTo !== null) this.pipeTo.end()
    }
    this._openOrDestroy()
  }

  // Before the stream is open, opening it will run the half anyway.
  updateNextTickIfOpen() {
    if ((this.stream._duplexState & OPENING) === 0) this.updateNextTick()
  }
}
