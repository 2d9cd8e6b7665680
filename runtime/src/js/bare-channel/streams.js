// Ports of channels as streams.

const { Readable, Writable, Duplex } = require('bare-stream')

function readInto(stream, port) {
  port.read().then((value) => stream.push(value), (err) => stream.destroy(err))
}

function settle(promise, cb) {
  promise.then(() => cb(null), cb)
}

exports.Reading = class PortReadStream extends Readable {
  constructor(port, opts) {
    super(opts)
    this._port = port
  }

  _read() {
    readInto(this, this._port)
  }
}

exports.Writing = class PortWriteStream extends Writable {
  constructor(port, opts) {
    super(opts)
    this._port = port
  }

  _write(chunk, encoding, cb) {
    settle(this._port.write(chunk), cb)
  }

  _final(cb) {
    settle(this._port.close(), cb)
  }
}

exports.Both = class PortDuplexStream extends Duplex {
  constructor(port, opts) {
    super(opts)
    this._port = port
  }

  _read() {
    readInto(this, this._port)
  }

  _write(chunk, encoding, cb) {
    settle(this._port.write(chunk), cb)
  }

  _final(cb) {
    settle(this._port.close(), cb)
  }
}
