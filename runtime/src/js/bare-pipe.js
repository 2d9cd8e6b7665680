// bare-pipe 4.3: named pipes (Unix sockets), and pipes that are open already.

const io = require('pome-io')
const HandleStream = require('pome-io/handle-stream')
const HandleServer = require('pome-io/handle-server')
const validate = require('pome-io/validate')
const errors = require('pome-io/errors')('PipeError', [
  'PIPE_ALREADY_CONNECTED',
  'PIPE_IS_CLOSED',
  'SERVER_ALREADY_LISTENING',
  'SERVER_IS_CLOSED',
  'INVALID_ARGUMENT',
  'INVALID_FD',
  'INVALID_IPC_TARGET',
  'INVALID_PATH'
])

// What the system takes as the path of a socket, in bytes.
const MAX_PATH_LENGTH = 107

class Pipe extends HandleStream {
  constructor(path, opts = {}, handle = null) {
    if (typeof path === 'object' && path !== null) [path, opts] = [undefined, path]
    super(opts, handle)
    if (typeof path === 'number') this.open(path)
    else if (typeof path === 'string') this.connect(path)
  }

  _mayConnect() {
    if (this._phase === 'closing') throw errors.PIPE_IS_CLOSED('Pipe is closed')
    if (this._phase !== 'idle') throw errors.PIPE_ALREADY_CONNECTED('Pipe is already connected')
  }

  connect(path, opts = {}, onconnect) {
    this._mayConnect()
    if (typeof opts === 'function') [opts, onconnect] = [{}, opts]
    if (typeof path === 'object' && path !== null) path = path.path
    validatePath(path)
    this._phase = 'connecting'
    if (onconnect) this.once('connect', onconnect)
    this._handle.connectUnix(path, (err) => {
      if (this._phase !== 'connecting') return
      if (err) return this._failed(err)
      this._connected()
      this.emit('connect')
    })
    return this
  }

  open(fd, opts = {}, onconnect) {
    this._mayConnect()
    if (typeof opts === 'function') [opts, onconnect] = [{}, opts]
    if (typeof fd === 'object' && fd !== null) fd = fd.fd
    validate.descriptor(errors, fd)
    if (onconnect) this.once('connect', onconnect)
    try {
      this._isReadable = this._handle.open(fd)
    } catch (err) {
      queueMicrotask(() => this._failed(err))
      return this
    }
    this._connected()
    queueMicrotask(() => {
      if (this._phase === 'connected') this.emit('connect')
    })
    return this
  }
}

class Server extends HandleServer {
  constructor(opts = {}, onconnection) {
    if (typeof opts === 'function') [opts, onconnection] = [{}, opts]
    super(errors, opts, onconnection)
    this._opts = opts
  }

  address() {
    return this.listening ? this._address : null
  }

  listen(path, backlog = 511, opts = {}, onlistening) {
    this._mayListen()
    if (typeof backlog === 'function') [backlog, onlistening] = [511, backlog]
    else if (typeof opts === 'function') [opts, onlistening] = [{}, opts]
    if (typeof path === 'object' && path !== null) ({ path, backlog = 511 } = path)
    validatePath(path)
    this._phase = 'binding'
    this._listen((listener) => {
      listener.listenUnix(path, backlog || 511)
      return path
    }, onlistening)
    return this
  }

  _onstream(stream) {
    const { readBufferSize, allowHalfOpen, pauseOnConnect = false } = this._opts
    this._track(new Pipe(undefined, { readBufferSize, allowHalfOpen, eagerOpen: !pauseOnConnect }, stream))
  }
}

function validatePath(path) {
  if (typeof path !== 'string') throw errors.INVALID_PATH(`Path must be a string, got ${typeof path}`)
  const length = Buffer.byteLength(path)
  if (length > MAX_PATH_LENGTH) {
    throw errors.INVALID_PATH(`Path must be at most ${MAX_PATH_LENGTH} bytes, got ${length}`)
  }
}

module.exports = exports = Pipe
exports.Pipe = Pipe
exports.Server = Server
exports.createConnection = function createConnection(path, opts = {}, onconnect) {
  if (typeof opts === 'function') [opts, onconnect] = [{}, opts]
  if (typeof path === 'object' && path !== null) opts = path
  return new Pipe(opts).connect(path, opts, onconnect)
}
exports.createServer = (opts, onconnection) => new Server(opts, onconnection)
exports.pipe = () => io.pipe()
exports.constants = {
  state: { CONNECTING: 1, CONNECTED: 2, BINDING: 4, BOUND: 8, READING: 16, CLOSING: 32, CLOSED: 64, UNREFED: 128, READABLE: 256, WRITABLE: 512 },
  path: { MAX_LENGTH: MAX_PATH_LENGTH },
  handle: { NAMED_PIPE: 7, TCP: 12, UDP: 15 }
}
exports.errors = errors
