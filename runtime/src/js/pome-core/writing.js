// A file or a blob that is written piece by piece; it is there when the stream has finished.

const { Writable } = require('streamx')
const core = require('pome-core')

module.exports = class Writing extends Writable {
  constructor (open) {
    super({ highWaterMark: 1 << 20, byteLength: (bytes) => bytes.byteLength, mapWritable: toBuffer })
    this._start = open
    this._id = 0
    this.id = null
  }

  _open (done) {
    this._start().then((id) => {
      this._id = core.own(this, id)
      done(null)
    }, done)
  }

  _writev (pieces, done) {
    core.writerWrite(this._id, pieces).then(() => done(null), done)
  }

  _final (done) {
    core.writerFinish(this._id).then((id) => {
      this.id = id === undefined ? null : id
      done(null)
    }, done)
  }

  _destroy (done) {
    if (this._id === 0) return done(null)
    core.writerAbort(this._id).then(() => done(null), done)
  }
}

function toBuffer (value) {
  return typeof value === 'string' ? Buffer.from(value) : value
}
