// bare-process 4.5: what Node calls `process`.

const EventEmitter = require('bare-events')
const Signal = require('bare-signals')
const os = require('bare-os')
const env = require('bare-env')
const hrtime = require('bare-hrtime')
const stdio = require('bare-stdio')
const posix = require('bare-posix')

const started = hrtime.bigint()

class Process extends EventEmitter {
  constructor() {
    super()
    EventEmitter.forward(Bare, this, [
      'uncaughtException',
      'unhandledRejection',
      'beforeExit',
      'exit',
      'suspend',
      'wakeup',
      'idle',
      'resume'
    ])
    const signals = new Signal.Emitter()
    signals.unref()
    EventEmitter.forward(signals, this, Object.keys(os.constants.signals))
  }

  get stdin() {
    return stdio.in
  }

  get stdout() {
    return stdio.out
  }

  get stderr() {
    return stdio.err
  }

  get platform() {
    return os.platform()
  }

  get arch() {
    return os.arch()
  }

  get title() {
    return os.getProcessTitle()
  }

  set title(title) {
    os.setProcessTitle(title)
  }

  get pid() {
    return os.pid()
  }

  get ppid() {
    return os.ppid()
  }

  get argv() {
    return Bare.argv
  }

  get execArgv() {
    return []
  }

  get execPath() {
    return os.execPath()
  }

  get exitCode() {
    return Bare.exitCode
  }

  set exitCode(code) {
    Bare.exitCode = code
  }

  get version() {
    return Bare.version
  }

  get versions() {
    return Bare.versions
  }

  get env() {
    return env
  }

  get hrtime() {
    return hrtime
  }

  abort() {
    os.kill(os.pid(), 'SIGABRT')
  }

  exit(code) {
    Bare.exit(code)
  }

  suspend() {
    Bare.suspend()
  }

  resume() {
    Bare.resume()
  }

  uptime() {
    return Number(hrtime.bigint() - started) / 1e9
  }

  nextTick(cb, ...args) {
    queueMicrotask(() => cb(...args))
  }

  [Symbol.for('bare.inspect')]() {
    const { platform, arch, title, pid, ppid, argv, execPath, exitCode, version, versions } = this
    const shown = { platform, arch, title, pid, ppid, argv, execPath, exitCode, version, versions, env: this.env }
    return { __proto__: { constructor: Process }, ...shown }
  }
}

// What the process says of itself as the machine's modules say it.
const ofMachine =
  'cwd chdir kill cpuUsage threadCpuUsage resourceUsage availableMemory constrainedMemory memoryUsage'
const ofUser = 'getuid geteuid getgid getegid getgroups setuid seteuid setgid setegid'
for (const [names, module] of [
  [ofMachine, os],
  [ofUser, posix]
]) {
  for (const name of names.split(' ')) {
    const value = { [name]: (...args) => module[name](...args) }[name]
    Object.defineProperty(Process.prototype, name, { value, writable: true, configurable: true })
  }
}

module.exports = new Process()
