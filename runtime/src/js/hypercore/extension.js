// Messages of a program beside a core: `core.registerExtension(name, handlers)`.

const core = require('pome-core')
const codec = require('pome-core/codec')

module.exports = class Extension {
  constructor (session, name, handlers) {
    this.session = session
    this.name = name
    this.onmessage = handlers.onmessage || core.noop
    this.encoding = codec.from(handlers.encoding)
    this._id = 0
    if (session.opened) this._open()
    else session.ready().then(() => { if (this._id !== -1) this._open() }, core.noop)
  }

  _open () {
    this._id = core.own(this, core.coreExtension(this.session._handle, this.name))
    this._listen()
  }

  _listen () {
    core.coreExtensionMessage(this._id, (error, message) => {
      if (error || message === null || this._id === -1) return
      this._listen()
      const [id, bytes] = message
      const peer = this.session.peers.find((peer) => peer.id === id) || { id }
      this.onmessage(codec.decode(this.encoding, bytes), peer)
    })
  }

  send (message, peer) {
    if (this._id > 0) core.coreExtensionSend(this._id, codec.encode(this.encoding, message), { peer: peer.id })
  }

  broadcast (message) {
    if (this._id > 0) core.coreExtensionSend(this._id, codec.encode(this.encoding, message), null)
  }

  destroy () {
    if (this._id > 0) core.disown(this, this._id)
    this._id = -1
    this.session.extensions.delete(this.name)
  }
}
