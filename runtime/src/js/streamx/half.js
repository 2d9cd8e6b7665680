// streamx 2.28: what the two halves of a stream do in the same way.
//
// A half runs in `update()`. It is called at once where the package promises synchronous progress,
// else from a microtask (`tick`); at most one microtask is under way per half. Opening and
// destroying belong to the stream as a whole: whichever half runs first with nothing else to do
// carries them out.

const StreamError = require('streamx/error')
const {
  OPENING,
  DESTROYING,
  DESTROYED,
  READ_PRIMARY,
  READ_ENDING,
  READ_DONE,
  WRITE_PRIMARY,
  WRITE_FINISHING,
  WRITE_DONE,
  DESTROY_STATUS,
  OPEN_STATUS,
  ACTIVE,
  TICKING
} = require('streamx/state')

const READS_NOTHING_ELSE = OPEN_STATUS | READ_ENDING | READ_DONE
const WRITES_NOTHING_ELSE = OPEN_STATUS | WRITE_FINISHING | WRITE_DONE
const MAY_OPEN = OPEN_STATUS | TICKING
const NOT_ACTIVE = ~ACTIVE

function byteLengthOf(data) {
  const sized = typeof data === 'object' && data !== null && typeof data.byteLength === 'number'
  // Anything that is not bytes counts as a kilobyte.
  return sized ? data.byteLength : 1024
}

class Half {
  constructor(stream, bits, byteLength, map) {
    this.stream = stream
    this.buffered = 0
    this.error = null
    this.pipeline = null
    this.byteLength = byteLength || byteLengthOf
    this.map = map || null
    this._updating = bits.UPDATING
    this._tick = bits.TICK
    this._primary = bits.PRIMARY
    this._now = bits.UPDATING | bits.TICK | bits.PRIMARY | OPEN_STATUS
    this._runTick = () => {
      if ((stream._duplexState & bits.UPDATING) !== 0) return
      stream._duplexState &= ~bits.TICK
      this.update()
    }
  }

  // Runs the half after the code that is running now.
  updateNextTick() {
    const { stream, _tick: tick } = this
    const state = stream._duplexState
    if ((state & tick) !== 0) return
    stream._duplexState = state | tick
    // A running update() sees the bit and goes round once more.
    if ((state & this._updating) === 0) queueMicrotask(this._runTick)
  }

  // Runs the half now if it has only data to move and is not already running.
  updateCallback() {
    if ((this.stream._duplexState & this._now) === this._primary) this.update()
    else this.updateNextTick()
  }

  // Takes the tick bit; true if another round is wanted.
  _again() {
    const { stream, _tick: tick } = this
    if ((stream._duplexState & tick) === 0) return false
    stream._duplexState &= ~tick
    return true
  }

  // Destroys or opens the stream if that is what is due.
  _openOrDestroy() {
    const { stream } = this
    const state = stream._duplexState
    if ((state & DESTROY_STATUS) === DESTROYING) {
      // The other half may still have something to say first.
      if ((state & TICKING) !== 0) return
      stream._duplexState |= ACTIVE
      stream._destroy((err) => this._destroyed(err))
    } else if ((state & MAY_OPEN) === OPENING) {
      stream._duplexState = (state | ACTIVE) & ~OPENING
      stream._open((err) => this._opened(err))
    }
  }

  _opened(err) {
    const { stream } = this
    if (err) stream.destroy(err)

    if ((stream._duplexState & DESTROYING) === 0) {
      const state = stream._duplexState
      if ((state & READS_NOTHING_ELSE) === 0) {
        stream._duplexState |= READ_PRIMARY
      }
      if ((state & WRITES_NOTHING_ELSE) === 0) {
        stream._duplexState |= WRITE_PRIMARY
      }
      stream.emit('open')
    }

    stream._duplexState &= NOT_ACTIVE
    if (stream._writableState !== null) stream._writableState.updateCallback()
    if (stream._readableState !== null) stream._readableState.updateCallback()
  }

  _destroyed(err) {
    const { stream } = this
    if (!err && !StreamError.isStreamDestroyed(this.error)) err = this.error
    if (err) stream.emit('error', err)

    stream._duplexState |= DESTROYED
    stream.emit('close')

    const { _readableState: readable, _writableState: writable } = stream
    if (readable !== null && readable.pipeline !== null) readable.pipeline.done(stream, err)
    if (writable !== null) {
      writable.dropDrains()
      if (writable.pipeline !== null) writable.pipeline.done(stream, err)
    }
  }
}

module.exports = Half
