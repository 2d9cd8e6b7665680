// udx-native 1.21, on the UDX of pome.

const udx = require('pome-npm')
const core = require('pome-core')
const net = require('bare-net')
const Socket = require('udx-native/socket')
const Stream = require('udx-native/stream')
const Interfaces = require('udx-native/interfaces')

module.exports = class UDX {
  constructor () {
    this._id = core.own(this, udx.udxNew())
    this._watchers = new Set()
    this._sockets = new Set()
    this._counts = { bytesTransmitted: 0, packetsTransmitted: 0, bytesReceived: 0, packetsReceived: 0 }
  }

  static isIPv4 (host) {
    return net.isIP(host) === 4
  }

  static isIPv6 (host) {
    return net.isIP(host) === 6
  }

  static isIP (host) {
    return net.isIP(host)
  }

  get bytesTransmitted () {
    return this._counts.bytesTransmitted
  }

  get packetsTransmitted () {
    return this._counts.packetsTransmitted
  }

  get bytesReceived () {
    return this._counts.bytesReceived
  }

  get packetsReceived () {
    return this._counts.packetsReceived
  }

  get packetsDroppedByKernel () {
    return 0
  }

  createSocket (options) {
    return new Socket(this, options)
  }

  createStream (id, options) {
    return new Stream(this, id, options)
  }

  networkInterfaces () {
    const [watcher = null] = this._watchers
    return (watcher || new Interfaces()).interfaces
  }

  watchNetworkInterfaces (onchange) {
    const watcher = new Interfaces()
    this._watchers.add(watcher)
    watcher.on('close', () => this._watchers.delete(watcher))
    if (onchange) watcher.on('change', onchange)
    return watcher.watch()
  }

  async lookup (host, { family = 0 } = {}) {
    const [found, kind] = await udx.udxLookup(host, family)
    return { host: found, family: kind }
  }
}
