// bare-worker 4.4: threads that their starter exchanges messages with. A worker loads its file by itself, in a heap of its own.

const path = require('bare-path')
const Channel = require('bare-channel')
const SharedChannel = require('bare-broadcast-channel')
const BroadcastChannel = require('bare-worker/broadcast-channel')
const { MessageChannel, MessagePort } = require('bare-worker/message-port')
const thread = require('bare-worker/thread')
const wire = require('bare-structured-clone/wire')

// In a worker, what its starter gave it.
const given = thread.given

const preloads = new Set(given === null ? [] : given.preloads)
const environmentData = given === null ? new Map() : wire.receive(given.environmentData)
const shared = given === null ? new SharedChannel() : SharedChannel.from(given.shared)

BroadcastChannel.use(shared)

// What the thread of a worker begins with: this module, in the other heap, finds there what it was given.
const BEGIN = "require('bare-worker')[Symbol.for('bare.worker.begin')]()"

function hrefOf(entry) {
  if (typeof entry === 'object' && entry !== null && typeof entry.href === 'string') return entry.href
  entry = String(entry)
  return /^[a-z][a-z0-9+.-]+:/i.test(entry) ? entry : path.resolve(entry)
}

class Worker extends MessagePort {
  constructor(entry, opts = {}) {
    const { workerData = null, argv = [] } = opts
    const channel = new Channel({ interfaces: [MessagePort] })
    super(channel)
    this._exitCode = 0
    this._exited = Promise.withResolvers()
    this._isTerminating = false
    const data = {
      entry: hrefOf(entry),
      argv: argv.map(String),
      channel: channel.handle,
      shared: shared.handle,
      data: wire.send(workerData),
      preloads: [...preloads],
      environmentData: wire.send(environmentData)
    }
    this._thread = new Bare.Thread('./<worker>.cjs', { source: BEGIN, data: { 'bare.worker': data } })
    this.ref()
    this.start()
  }

  // Ends the worker wherever it is; answers with the status that it had.
  terminate() {
    if (!this._isTerminating && !this._isClosed) {
      this._isTerminating = true
      this._thread.terminate()
    }
    return this._exited.promise
  }

  async [Symbol.asyncDispose]() {
    await this.terminate()
  }

  [Symbol.for('bare.inspect')]() {
    return { __proto__: { constructor: Worker }, detached: this.detached }
  }

  _onspecial({ type, value }) {
    if (type === 'online') this.emit('online')
    else if (type === 'exit') this._exitCode = value
    else if (type === 'error') this.emit('error', value)
  }

  _onclose() {
    super._onclose()
    this._thread.join()
    this._exited.resolve(this._exitCode)
    this.emit('exit', this._exitCode)
  }
}

module.exports = exports = Worker

exports.Worker = Worker
exports.MessageChannel = MessageChannel
exports.MessagePort = MessagePort
exports.BroadcastChannel = BroadcastChannel
exports.isMainThread = Bare.Thread.isMainThread
exports.parentPort = thread.parentPort
exports.workerData = thread.workerData

exports.preload = function preload(entry) {
  preloads.add(hrefOf(entry))
}

exports.setEnvironmentData = function setEnvironmentData(key, value) {
  if (value === undefined) environmentData.delete(key)
  else environmentData.set(key, value)
}

exports.getEnvironmentData = function getEnvironmentData(key) {
  return environmentData.get(key)
}

Object.defineProperty(exports, Symbol.for('bare.worker.begin'), { value: thread.begin })
