// Messages between a program and its starter: one JSON text a line.

const errors = require('bare-subprocess/errors')

// A message has no more bytes than npm's says.
const FRAME_MAX_BYTES = 0xffffffff

class Channel {
  // `emitter` gets the events 'message', 'disconnect' and 'error'.
  constructor(emitter, pipe) {
    this._emitter = emitter
    this._pipe = pipe
    this._isConnected = true
    this._rest = []
    this._restBytes = 0
    pipe.on('data', (data) => this._take(data))
    pipe.on('error', (err) => emitter.emit('error', err))
    pipe.on('end', () => this._ended())
    pipe.on('close', () => this._ended())
  }

  get connected() {
    return this._isConnected
  }

  send(message, handle, cb) {
    if (typeof handle === 'function') cb = handle
    if (!this._isConnected) {
      const err = errors.CHANNEL_DISCONNECTED('Channel is disconnected')
      if (cb) queueMicrotask(() => cb(err))
      return false
    }
    return this._pipe.write(Buffer.from(JSON.stringify({ message, hasHandle: false }) + '\n'), cb)
  }

  _take(data) {
    for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10)) {
      const line = Buffer.concat([...this._rest, data.subarray(0, end)])
      this._rest = []
      this._restBytes = 0
      data = data.subarray(end + 1)
      this._told(line)
    }
    if (data.byteLength === 0) return
    this._rest.push(data)
    this._restBytes += data.byteLength
    if (this._restBytes > FRAME_MAX_BYTES) {
      const err = errors.MESSAGE_TOO_LARGE(`IPC message exceeds the maximum frame size of ${FRAME_MAX_BYTES} bytes`)
      this._pipe.destroy()
      this._emitter.emit('error', err)
    }
  }

  _told(line) {
    let envelope
    try {
      envelope = JSON.parse(line.toString())
    } catch (err) {
      this._emitter.emit('error', errors.INVALID_MESSAGE('Invalid IPC message', err))
      return
    }
    this._emitter.emit('message', envelope === null ? undefined : envelope.message, null)
  }

  disconnect() {
    if (this._isConnected) this._pipe.end()
  }

  ref() {
    this._pipe.ref()
    return this
  }

  unref() {
    this._pipe.unref()
    return this
  }

  _ended() {
    if (!this._isConnected) return
    this._isConnected = false
    // Whoever has nothing more to say need not be waited for.
    this._pipe.end()
    this._emitter.emit('disconnect')
  }
}

module.exports = Channel
