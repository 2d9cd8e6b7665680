// bare-ansi-escapes 2.2: control sequences of terminals.

const ESC = '\x1b'
const CSI = ESC + '['
const SGR = (n) => CSI + n + 'm'

exports.constants = { ESC, CSI, SGR }

exports.cursorHide = CSI + '?25l'
exports.cursorShow = CSI + '?25h'

for (const [name, letter] of [
  ['cursorUp', 'A'],
  ['cursorDown', 'B'],
  ['cursorForward', 'C'],
  ['cursorBack', 'D'],
  ['cursorNextLine', 'E'],
  ['cursorPreviousLine', 'F'],
  ['scrollUp', 'S'],
  ['scrollDown', 'T']
]) {
  exports[name] = (n = 1) => CSI + n + letter
}

// Columns and rows count from 0 here and from 1 in the terminal; without a row only the column moves.
exports.cursorPosition = function cursorPosition(column, row = 0) {
  return row === 0 ? CSI + (column + 1) + 'G' : CSI + (row + 1) + ';' + (column + 1) + 'H'
}

exports.eraseDisplayEnd = CSI + 'J'
exports.eraseDisplayStart = CSI + '1J'
exports.eraseDisplay = CSI + '2J'
exports.eraseLineEnd = CSI + 'K'
exports.eraseLineStart = CSI + '1K'
exports.eraseLine = CSI + '2K'

const MODIFIERS = {
  Reset: 0,
  Bold: 1,
  Dim: 2,
  Italic: 3,
  Underline: 4,
  Normal: 22,
  NotItalic: 23,
  NotUnderline: 24
}

for (const [name, code] of Object.entries(MODIFIERS)) exports['modifier' + name] = SGR(code)

const COLORS = ['Black', 'Red', 'Green', 'Yellow', 'Blue', 'Magenta', 'Cyan', 'White']

COLORS.forEach((name, i) => {
  exports['color' + name] = SGR(30 + i)
  exports['colorBright' + name] = SGR(90 + i)
})

exports.colorDefault = SGR(39)
