// A server over a native listener: what TCP and pipe servers are made of.

const EventEmitter = require('bare-events')
const { Listener } = require('pome-io')

module.exports = class HandleServer extends EventEmitter {
  constructor(errors, opts, onconnection) {
    super()
    this._errors = errors
    // idle → binding → bound → closing → idle
    this._phase = 'idle'
    this._address = null
    this._connections = new Set()
    this._isRef = true
    this._handle = null
    this._attempt = 0
    if (onconnection) this.on('connection', onconnection)
  }

  get listening() {
    return this._phase === 'bound'
  }

  get closing() {
    return this._phase === 'closing'
  }

  get connections() {
    return this._connections
  }

  _mayListen() {
    if (this._phase === 'closing') throw this._errors.SERVER_IS_CLOSED('Server is closed')
    if (this._phase !== 'idle') throw this._errors.SERVER_ALREADY_LISTENING('Server is already listening')
  }

  // `bind(listener)` answers with the address that the server got.
  _listen(bind, onlistening) {
    this._handle = new Listener()
    if (!this._isRef) this._handle.setRef(false)
    try {
      this._address = bind(this._handle)
    } catch (err) {
      this._release(() => {
        this.emit('error', err)
        this._closeMaybe()
      })
      return
    }
    this._phase = 'bound'
    if (onlistening) this.once('listening', onlistening)
    this._accept()
    queueMicrotask(() => {
      if (this._phase === 'bound') this.emit('listening')
    })
  }

  _accept() {
    const handle = this._handle
    handle.accept((err, stream) => {
      if (this._handle !== handle || this._phase !== 'bound') {
        if (stream) stream.close(() => {})
        return
      }
      this._accept()
      if (err) return this.emit('error', err)
      this._onstream(stream)
    })
  }

  _track(socket) {
    this._connections.add(socket)
    socket.on('close', () => {
      this._connections.delete(socket)
      this._closeMaybe()
    })
    this.emit('connection', socket)
  }

  close(onclose) {
    if (this._phase === 'idle') {
      if (onclose) queueMicrotask(onclose)
      return this
    }
    if (onclose) this.once('close', onclose)
    if (this._phase === 'closing') return this
    this._phase = 'closing'
    this._attempt++
    if (this._handle === null) this._closeMaybe()
    else this._release(() => this._closeMaybe())
    return this
  }

  _release(done) {
    const handle = this._handle
    handle.close(() => {
      this._handle = null
      this._address = null
      if (this._phase !== 'closing') this._phase = 'idle'
      done()
    })
  }

  _closeMaybe() {
    if (this._phase !== 'closing' || this._handle !== null || this._connections.size > 0) return
    this._phase = 'idle'
    queueMicrotask(() => this.emit('close'))
  }

  ref() {
    this._isRef = true
    if (this._handle !== null) this._handle.setRef(true)
    return this
  }

  unref() {
    this._isRef = false
    if (this._handle !== null) this._handle.setRef(false)
    return this
  }

  [Symbol.asyncDispose]() {
    return new Promise((resolve) => this.close(resolve))
  }
}
