// Streams of the Rust core as readable streams.

const { Readable } = require('streamx')
const core = require('pome-core')

// `open` gives the number of a stream, or a promise of it; `map` makes a piece what the reader sees. A stream that is `live` waits for what may never
// come: the process does not live for it.
module.exports = class Pulled extends Readable {
  constructor (open, map, options = {}) {
    super({ highWaterMark: options.highWaterMark || 16 * 1024, byteLength: options.byteLength || null, signal: options.signal })
    this._start = open
    this._map = map
    this._stay = !options.live
    this._id = 0
    this._reading = null
  }

  _open (done) {
    let id
    try {
      id = this._start()
    } catch (error) {
      return done(error)
    }
    if (typeof id === 'number') {
      this._id = core.own(this, id)
      return done(null)
    }
    id.then((id) => {
      this._id = core.own(this, id)
      done(null)
    }, done)
  }

  _read (done) {
    this._reading = done
    core.pull(this._id, this._stay, (error, pieces) => {
      if (this._reading === null) return
      this._reading = null
      if (error) return done(error)
      if (pieces === null) {
        this.push(null)
        return done(null)
      }
      try {
        for (const piece of pieces) this.push(this._map === null ? piece : this._map(piece))
      } catch (error) {
        return done(error)
      }
      done(null)
    })
  }

  _predestroy () {
    // What it waits for may never come.
    const done = this._reading
    this._reading = null
    if (done !== null) done(null)
  }

  _destroy (done) {
    if (this._id !== 0) core.pullClose(this._id)
    done(null)
  }
}
