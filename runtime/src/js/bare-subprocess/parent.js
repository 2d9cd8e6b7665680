// bare-subprocess 6.2, `parent`: the starter of this program, if it talks with it.

const EventEmitter = require('bare-events')
const Pipe = require('bare-pipe')
const env = require('bare-env')
const io = require('pome-io')
const Channel = require('bare-subprocess/channel')
const errors = require('bare-subprocess/errors')

module.exports = class ParentChannel extends EventEmitter {
  constructor() {
    super()
    const fd = io.channel()
    if (fd === undefined) throw errors.NO_IPC_CHANNEL('BARE_CHANNEL_FD is not set')
    const mode = env.BARE_CHANNEL_SERIALIZATION_MODE || 'json'
    if (mode !== 'json') throw errors.UNKNOWN_SERIALIZATION_MODE(`Unknown serialization mode '${mode}'`)
    this._channel = new Channel(this, new Pipe(fd))
  }

  get connected() {
    return this._channel.connected
  }

  send(message, handle, cb) {
    return this._channel.send(message, handle, cb)
  }

  disconnect() {
    this._channel.disconnect()
  }

  ref() {
    this._channel.ref()
    return this
  }

  unref() {
    this._channel.unref()
    return this
  }
}
