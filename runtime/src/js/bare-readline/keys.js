// The bytes that a terminal sends, as keys: `{ name, sequence, ctrl, meta, shift }`.

const { StringDecoder } = require('bare-readline/text')

const named = { '\r': 'return', '\n': 'linefeed', '\t': 'tab', '\b': 'backspace', '\x7f': 'backspace', ' ': 'space' }

// What follows `ESC [` or `ESC O`, without the modifier.
const sequences = {
  A: 'up',
  B: 'down',
  C: 'right',
  D: 'left',
  E: 'clear',
  F: 'end',
  H: 'home',
  P: 'f1',
  Q: 'f2',
  R: 'f3',
  S: 'f4',
  Z: 'tab',
  '1~': 'home',
  '2~': 'insert',
  '3~': 'delete',
  '4~': 'end',
  '5~': 'pageup',
  '6~': 'pagedown',
  '7~': 'home',
  '8~': 'end',
  '11~': 'f1',
  '12~': 'f2',
  '13~': 'f3',
  '14~': 'f4',
  '15~': 'f5',
  '17~': 'f6',
  '18~': 'f7',
  '19~': 'f8',
  '20~': 'f9',
  '21~': 'f10',
  '23~': 'f11',
  '24~': 'f12'
}

const ESCAPE = '\x1b'
const sequence = /^\x1b(?:O([A-Z])|\[([0-9;]*)([A-Za-z~]))/
// A sequence of which the rest may still come.
const partial = /^\x1b(?:O|\[[0-9;]*)?$/

module.exports = class KeyReader {
  constructor(onkey) {
    this._onkey = onkey
    this._decoder = new StringDecoder()
    this._held = ''
  }

  write(data) {
    let text = this._held + (typeof data === 'string' ? data : this._decoder.write(data))
    this._held = ''
    while (text.length > 0) {
      if (text[0] === ESCAPE) {
        const match = sequence.exec(text)
        if (match !== null) {
          this._sequence(match)
          text = text.slice(match[0].length)
          continue
        }
        // A lone escape is the key of that name; one with an open bracket waits for the rest.
        if (text.length > 1 && partial.test(text)) {
          this._held = text
          return
        }
        if (text.length > 1 && text[1] !== ESCAPE) {
          const character = String.fromCodePoint(text.codePointAt(1))
          this._character(character, true)
          text = text.slice(1 + character.length)
          continue
        }
        this._emit('escape', ESCAPE)
        text = text.slice(1)
        continue
      }
      const character = String.fromCodePoint(text.codePointAt(0))
      this._character(character, false)
      text = text.slice(character.length)
    }
  }

  _sequence([text, letter, numbers = '', end]) {
    if (letter !== undefined) return this._emit(sequences[letter] || 'undefined', text)
    const [first, modifiers = '1'] = numbers.split(';')
    const bits = Math.max(0, Number(modifiers) - 1)
    const name = sequences[end === '~' ? first + '~' : end] || 'undefined'
    this._emit(name, text, { shift: (bits & 1) !== 0 || end === 'Z', meta: (bits & 10) !== 0, ctrl: (bits & 4) !== 0 })
  }

  _character(character, meta) {
    const code = character.charCodeAt(0)
    if (Object.hasOwn(named, character)) return this._emit(named[character], character, { meta })
    if (code >= 1 && code <= 26) return this._emit(String.fromCharCode(code + 96), character, { ctrl: true, meta })
    if (code < 32) return this._emit('undefined', character, { meta })
    const lower = character.toLowerCase()
    const shift = character !== lower && lower.length === character.length
    this._emit(shift ? lower : character, character, { shift, meta })
  }

  _emit(name, sequence, { ctrl = false, meta = false, shift = false } = {}) {
    this._onkey({ name, sequence, ctrl, meta, shift })
  }
}
