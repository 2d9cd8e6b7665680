// bare-repl 6.1: lines that are run as they are typed, over any two streams.

const { Writable } = require('bare-stream')
const Module = require('bare-module')
const path = require('bare-path')
const Pipe = require('bare-pipe')
const Readline = require('bare-readline')
const Realm = require('bare-realm')
const inspect = require('bare-inspect')
const tty = require('bare-tty')

let count = 0

// Globals of their own, beside which stand those of the program.
function globalsOf (realm) {
  const context = realm.evaluate('globalThis')
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    if (name === 'global' || name === 'globalThis' || Object.hasOwn(context, name)) continue
    Object.defineProperty(context, name, Object.getOwnPropertyDescriptor(globalThis, name))
  }
  context.global = context
  return context
}

class REPLServer extends Readline {
  constructor (opts = {}) {
    const {
      input = tty.isTTY(0) ? new tty.ReadStream(0) : new Pipe(0),
      output = tty.isTTY(1) ? new tty.WriteStream(1) : new Pipe(1),
      useGlobal = false,
      writer = (value) => inspect(value, { colors: input.isTTY })
    } = opts
    super({ ...opts, input, output })
    const realm = useGlobal ? null : new Realm()
    this._context = realm === null ? globalThis : globalsOf(realm)
    this._writer = writer
    this._eval = opts.eval || ((source, context, filename, cb) => {
      let value
      try {
        value = realm === null ? (0, eval)(source) : realm.evaluate(source, { filename })
      } catch (error) {
        return cb(error)
      }
      cb(null, value)
    })
    this._commands = Object.create(null)
    this._hasExited = false
    this._context._ = undefined
    this._context.require = Module.createRequire(path.join(path.resolve('.'), '/'), { cache: Object.create(null) })
    if (input.isTTY) input.setMode(tty.constants.MODE_RAW)
    this.defineCommand('help', { help: 'Print this help message', action: this._help })
    this.defineCommand('exit', { help: 'Exit the REPL', action: this._exit })
    this.on('data', (line) => this._take(line))
    this.on('close', () => this._leave())
    this.prompt()
  }

  get eval () {
    return this._eval
  }

  get writer () {
    return this._writer
  }

  get context () {
    return this._context
  }

  get commands () {
    return this._commands
  }

  defineCommand (keyword, { help, action }) {
    this._commands[keyword] = { help, action }
  }

  _tell (text) {
    this.output.write(text + Readline.constants.EOL)
  }

  _help () {
    for (const [name, { help }] of Object.entries(this._commands)) this._tell(`.${name}  ${help}`)
    this.prompt()
  }

  _exit () {
    this._hasExited = true
    this.close()
  }

  _leave () {
    if (!this._hasExited) this.output.write(Readline.constants.EOL)
    this.output.on('close', () => this.emit('exit')).end()
  }

  async _take (line) {
    await Writable.drained(this.output)
    const source = line.trim()
    if (source.startsWith('.')) return this._command(...source.slice(1).split(/\s+/))
    this._eval(source, this._context, `REPL${++count}`, (error, value) => {
      this._context._ = value
      this._tell(this._writer(error || value))
      if (!this.destroyed) this.prompt()
    })
  }

  async _command (name, ...args) {
    const command = this._commands[name]
    if (command === undefined) return this._tell('Invalid REPL keyword')
    try {
      await command.action.call(this, ...args)
    } catch (error) {
      this._tell(String(error))
    }
  }
}

exports.REPLServer = REPLServer

exports.start = function start (opts) {
  return new REPLServer(typeof opts === 'string' ? { prompt: opts } : opts)
}
