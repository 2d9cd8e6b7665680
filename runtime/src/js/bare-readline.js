// bare-readline 1.3: lines typed at a terminal, with a history.

const { Readable } = require('bare-stream')
const KeyReader = require('bare-readline/keys')

const EOL = '\r\n'
const up = (rows) => (rows > 0 ? `\x1b[${rows}A` : '')
const down = (rows) => (rows > 0 ? `\x1b[${rows}B` : '')
const column = (x) => `\x1b[${x + 1}G`
const home = '\x1b[1;1H'
const eraseDown = '\x1b[J'

class Readline extends Readable {
  constructor(opts = {}) {
    super()
    const { prompt = '> ', crlfDelay = 100, input, output } = opts
    this._prompt = prompt
    this._crlfDelay = Math.max(100, crlfDelay)
    this._input = input
    this._output = output
    this._line = ''
    this._cursor = 0
    this._history = []
    // Which entry of the history is shown; -1 is none.
    this._entry = -1
    this._previousRows = 0
    this._columns = 80
    this._returnedAt = 0
    this._keys = new KeyReader((key) => this._onkey(key))
    this._oninput = (data) => this._keys.write(data)
    this._onend = () => this.push(null)
    this.setEncoding('utf8')
    this.on('newListener', (name) => {
      if (name === 'line') this.resume()
    })
    input.on('data', this._oninput)
    input.on('end', this._onend)
    if (output) {
      this._onresize = () => this._resize()
      output.on('resize', this._onresize)
      this._resize()
    }
  }

  get input() {
    return this._input
  }

  get output() {
    return this._output
  }

  get line() {
    return this._line
  }

  get cursor() {
    return this._cursor
  }

  setPrompt(prompt) {
    this._prompt = prompt
  }

  getPrompt() {
    return this._prompt
  }

  write(data) {
    if (this._output) this._output.write(data)
  }

  // Draws the prompt and the line over what was drawn before, and puts the cursor where it belongs.
  prompt() {
    const text = this._prompt + this._line
    const at = this._prompt.length + this._cursor
    const x = at % this._columns
    const y = Math.floor(at / this._columns)
    const isAtEnd = at === text.length
    const rows = Math.floor((text.length - (isAtEnd ? 0 : 1)) / this._columns)
    let drawn = up(this._previousRows) + column(0) + eraseDown + text
    if (x === 0 && isAtEnd) drawn += EOL
    else drawn += up(rows - y)
    this.write(drawn + column(x))
    this._previousRows = y
  }

  clearLine() {
    const line = this._line
    const rows = Math.floor((this._prompt.length + line.length) / this._columns)
    this.write(down(rows - this._previousRows) + EOL)
    this._line = ''
    this._cursor = 0
    this._previousRows = 0
    return line
  }

  close() {
    this._input.off('data', this._oninput)
    this._input.off('end', this._onend)
    if (this._output && this._onresize) this._output.off('resize', this._onresize)
    this.push(null)
  }

  _resize() {
    const { columns = 80 } = this._output
    this._columns = columns
    this.prompt()
  }

  _onkey(key) {
    const { name, ctrl, shift } = key
    if (name !== 'linefeed') this._returnedAt = 0
    if (name === 'up' || (ctrl && name === 'p')) return this._showEntry(this._entry + 1)
    if (name === 'down' || (ctrl && name === 'n')) return this._showEntry(this._entry - 1)
    this._entry = -1
    if (name === 'right' || (ctrl && name === 'f')) return this._move(this._cursor + 1)
    if (name === 'left' || (ctrl && name === 'b')) return this._move(this._cursor - 1)
    if (ctrl && name === 'e') return this._move(this._line.length)
    if (ctrl && name === 'a') return this._move(0)
    if (ctrl && name === 'l') {
      this.write(home + eraseDown)
      this._previousRows = 0
      return this.prompt()
    }
    if (ctrl && (name === 'c' || name === 'd')) return this.close()
    if (name === 'return') return this._enter(false)
    if (name === 'linefeed') return this._enter(true)
    if (name === 'backspace') return this._erase()
    if (name === 'space') return this._insert(' ')
    // A key with a long name is no character.
    if ([...name].length === 1) this._insert(shift ? key.sequence : name)
  }

  _insert(characters) {
    this._line = this._line.slice(0, this._cursor) + characters + this._line.slice(this._cursor)
    this._cursor += characters.length
    this.prompt()
  }

  _erase() {
    if (this._cursor === 0) return
    this._line = this._line.slice(0, this._cursor - 1) + this._line.slice(this._cursor)
    this._cursor--
    this.prompt()
  }

  _move(to) {
    if (to < 0 || to > this._line.length || to === this._cursor) return
    this._cursor = to
    this.prompt()
  }

  _showEntry(entry) {
    // A line that is being written is not lost to the history.
    if (this._entry === -1 && this._line.length > 0) return
    if (entry < -1 || entry >= this._history.length) return
    this._entry = entry
    this._line = entry === -1 ? '' : this._history[entry]
    this._cursor = this._line.length
    this.prompt()
  }

  _enter(isLinefeed) {
    // Terminals and files end a line with one or the other, or with both: that is one line.
    if (isLinefeed && this._returnedAt > 0 && Date.now() - this._returnedAt <= this._crlfDelay) {
      this._returnedAt = 0
      return
    }
    this._returnedAt = isLinefeed ? 0 : Date.now()
    const line = this.clearLine()
    const isWorthKeeping = line.trim() !== ''
    if (isWorthKeeping && line !== this._history[0]) this._history.unshift(line)
    this.push(line)
    this.emit('line', line)
    if (isWorthKeeping) this.emit('history', this._history)
  }
}

module.exports = exports = Readline
exports.Interface = Readline
exports.createInterface = (opts) => new Readline(opts)
exports.constants = { EOL }
