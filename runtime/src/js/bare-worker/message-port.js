// The ends of a channel between two threads, or within one.

const EventEmitter = require('bare-events')
const { Duplex } = require('bare-stream')
const Channel = require('bare-channel')
const errors = require('pome-io/errors')('WorkerError', ['ALREADY_STARTED', 'CHANNEL_CLOSED'])

// A port that nobody listens to does not keep its thread alive.
class MessagePort extends EventEmitter {
  constructor(channel) {
    super()
    this._channel = channel
    this._port = null
    this._isClosed = false
    this._isDetached = false
    this._isRef = false
    this._isHeard = false
    this._underway = 0
    this._ipc = null
    this.on('newListener', (name) => {
      if (name !== 'message' || this.listenerCount('message') > 0) return
      this.start()
      this._isHeard = true
      this._update()
    })
    this.on('removeListener', (name) => {
      if (name !== 'message' || this.listenerCount('message') > 0) return
      this._isHeard = false
      this._update()
    })
  }

  get detached() {
    return this._isDetached
  }

  get IPC() {
    if (this._ipc === null) this._ipc = new IPC(this)
    return this._ipc
  }

  start() {
    if (this._port !== null || this._channel === null) return
    this._port = this._channel.connect()
    this._update()
    this._hear()
  }

  async _hear() {
    for await (const message of this._port) {
      switch (message.type) {
        case 'message':
          this.emit('message', message.value)
          break
        case 'data':
          this.IPC.push(message.value)
          break
        case 'end':
          this.IPC.push(null)
          break
        default:
          this._onspecial(message)
      }
    }
    // What was said before the end has been heard.
    await this._port.close()
    this._onclose()
  }

  _onspecial() {}

  postMessage(message, transferList) {
    this._send({ type: 'message', value: message }, transferList)
  }

  async _send(message, transfer) {
    this.start()
    this._underway++
    this._update()
    try {
      return await this._port.write(message, { transfer })
    } finally {
      this._underway--
      this._update()
    }
  }

  close() {
    this.start()
    this._port.close()
  }

  ref() {
    this._isRef = true
    this._update()
  }

  unref() {
    this._isRef = false
    this._isHeard = false
    this._update()
  }

  hasRef() {
    return this._isRef || this._isHeard
  }

  _update() {
    if (this._port === null || this._isClosed) return
    const isRef = this.hasRef() || this._underway > 0 || (this._ipc !== null && this._ipc.isRead)
    if (isRef) this._port.ref()
    else this._port.unref()
  }

  _onclose() {
    this._isClosed = true
    if (this._ipc !== null) this._ipc.push(null)
    this.emit('close')
  }

  [Symbol.for('bare.inspect')]() {
    return { __proto__: { constructor: MessagePort }, detached: this.detached }
  }

  [Symbol.for('bare.detach')]() {
    if (this._port !== null) throw errors.ALREADY_STARTED('Worker has already started receiving messages')
    this._isDetached = true
    const { handle } = this._channel
    this._channel = null
    return handle
  }

  static get [Symbol.for('bare.interface')]() {
    return Symbol.for('bare.worker.message-port')
  }

  static [Symbol.for('bare.attach')](handle) {
    return new MessagePort(Channel.from(handle, { interfaces: [MessagePort] }))
  }
}

// Bytes beside the messages of a port.
class IPC extends Duplex {
  constructor(port) {
    super()
    this._port = port
    this.isRead = false
    const look = (name, count) => {
      if (name !== 'data' && name !== 'readable') return
      this.isRead = this.listenerCount('data') + this.listenerCount('readable') + count > 0
      if (this.isRead) port.start()
      port._update()
    }
    // A listener that is new is not counted yet.
    this.on('newListener', (name) => look(name, 1))
    this.on('removeListener', (name) => look(name, 0))
  }

  _write(chunk, encoding, cb) {
    this._port._send({ type: 'data', value: chunk }).then(() => cb(null), cb)
  }

  _final(cb) {
    this._port._send({ type: 'end' }).then(() => cb(null), cb)
  }

  _destroy(err, cb) {
    this.isRead = false
    this._port._update()
    cb(err)
  }
}

class MessageChannel {
  constructor() {
    const channel = new Channel({ interfaces: [MessagePort] })
    this.port1 = new MessagePort(channel)
    this.port2 = new MessagePort(channel)
  }
}

module.exports = { MessageChannel, MessagePort, errors }
