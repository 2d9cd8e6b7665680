// The streams over files of bare-fs 4.8.

const { Readable, Writable } = require('bare-stream')

module.exports = (fs) => {
  class ReadStream extends Readable {
    constructor(path, opts = {}) {
      super({ eagerOpen: true, ...opts })
      this.path = path
      this.fd = typeof opts.fd === 'number' ? opts.fd : -1
      this.flags = opts.flags || 'r'
      this.mode = opts.mode || 0o666
      this._offset = opts.start || 0
      // How many bytes are still asked for; -1 is all there are.
      this._missing = -1
      if (opts.length) this._missing = opts.length
      else if (typeof opts.end === 'number') this._missing = opts.end - this._offset + 1
    }

    async _open(cb) {
      try {
        if (this.fd === -1) this.fd = await fs.open(this.path, this.flags, this.mode)
        const stat = await fs.fstat(this.fd)
        // A device has no size and no place to read at; neither has a pipe.
        this._seekable = stat.isFile()
        if (!this._seekable) this._missing = this._missing === -1 ? Infinity : this._missing
        else {
          const left = Math.max(0, stat.size - this._offset)
          this._missing = this._missing === -1 ? left : Math.min(left, this._missing)
        }
      } catch (err) {
        return cb(err)
      }
      cb(null)
    }

    async _read(size) {
      if (this._missing <= 0) return this.push(null)
      try {
        const data = Buffer.allocUnsafe(Math.min(this._missing, size || 65536))
        const length = await fs.read(this.fd, data, 0, data.byteLength, this._seekable ? this._offset : -1)
        if (length === 0) return this.push(null)
        this._missing -= length
        this._offset += length
        this.push(data.subarray(0, length))
      } catch (err) {
        this.destroy(err)
      }
    }

    _destroy(err, cb) {
      close(this, err, cb)
    }
  }

  class WriteStream extends Writable {
    constructor(path, opts = {}) {
      super({ eagerOpen: true, ...opts })
      this.path = path
      this.fd = typeof opts.fd === 'number' ? opts.fd : -1
      this.flags = opts.flags || 'w'
      this.mode = opts.mode || 0o666
    }

    async _open(cb) {
      try {
        if (this.fd === -1) this.fd = await fs.open(this.path, this.flags, this.mode)
      } catch (err) {
        return cb(err)
      }
      cb(null)
    }

    async _writev(batch, cb) {
      try {
        let data = batch.length === 1 ? batch[0].chunk : Buffer.concat(batch.map((item) => item.chunk))
        while (data.byteLength > 0) data = data.subarray(await fs.write(this.fd, data))
      } catch (err) {
        return cb(err)
      }
      cb(null)
    }

    _destroy(err, cb) {
      close(this, err, cb)
    }
  }

  async function close(stream, err, cb) {
    if (stream.fd === -1) return cb(err)
    try {
      await fs.close(stream.fd)
    } catch (failure) {
      err = err || failure
    }
    cb(err)
  }

  return { ReadStream, WriteStream }
}
