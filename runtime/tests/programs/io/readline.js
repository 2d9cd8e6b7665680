// not in bare: its packages are not where it looks for them
const readline = require('bare-readline')
const { PassThrough } = require('bare-stream')

const input = new PassThrough()
const lines = []
const reader = readline.createInterface({ input })
reader
  .on('line', (line) => lines.push(line))
  .on('close', () => console.log(lines))
  .on('history', (history) => console.log(history.length))

// Keys: left, backspace, the history, a character of several bytes in two pieces.
input.write('first\r\n')
input.write('sebond\x1b[D\x1b[D\x1b[D\x7fc\x05!\n')
input.write('\x1b[A\x1b[A\r')
const cut = Buffer.from('é wide\n')
input.write(cut.subarray(0, 1))
input.write(cut.subarray(1))
input.write('last')
setTimeout(() => {
  console.log(reader.line, reader.cursor)
  reader.close()
}, 50)
