// A worker as it sees itself.

const path = require('bare-path')
const Module = require('bare-module')
const { pathToFileURL } = require('bare-url')
const Channel = require('bare-channel')
const { MessagePort } = require('bare-worker/message-port')
const wire = require('bare-structured-clone/wire')

const self = Bare.Thread.self
const data = self === null ? null : self.data
const given = typeof data === 'object' && data !== null && data['bare.worker'] ? data['bare.worker'] : null

exports.given = given
exports.parentPort = null
exports.workerData = null

if (given !== null) {
  exports.parentPort = new MessagePort(Channel.from(given.channel, { interfaces: [MessagePort] }))
  exports.workerData = self.data = wire.receive(given.data)
}

function load(href) {
  Module.load(Module.resolve(href, pathToFileURL(path.resolve('.') + path.sep)))
}

// Runs the worker's file; its starter hears of the beginning, of what nobody catches, and of the end.
exports.begin = function begin() {
  const { parentPort } = exports
  Bare.argv.splice(1, Bare.argv.length, given.entry, ...given.argv)
  Bare.IPC = parentPort.IPC
  for (const name of ['uncaughtException', 'unhandledRejection']) {
    Bare.on(name, (error) => {
      // The program's own listeners come instead of this one.
      if (Bare.listenerCount(name) > 1) return
      tell(parentPort, 'error', error)
      Bare.exit(1)
    })
  }
  Bare.on('exit', (code) => tell(parentPort, 'exit', code))
  parentPort.start()
  tell(parentPort, 'online')
  for (const href of given.preloads) load(href)
  load(given.entry)
}

// At once, for the thread may be about to end. What cannot be sent is said in words.
function tell(port, type, value) {
  port.start()
  try {
    port._port.writeSync({ type, value })
  } catch {
    port._port.writeSync({ type, value: new Error(String(value)) })
  }
}
