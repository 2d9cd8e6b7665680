// Tries to use the files and the channel that another program has open.
const Channel = require('bare-channel')
const fs = require('bare-fs')
const path = require('bare-path')

const { held, number } = JSON.parse(fs.readFileSync(path.join(__dirname, 'numbers.json'), 'utf8'))
const handle = new SharedArrayBuffer(8)
new Float64Array(handle)[0] = number
const port = Channel.from(handle).connect()
// Nobody is at the other end, and nobody is waited for.
port.unref()
port.writeSync('not held')

const results = { numbers: held.length, reached: 0, refused: 0 }
for (const fd of held) {
  const uses = [
    () => fs.fstatSync(fd),
    () => fs.readSync(fd, Buffer.alloc(1)),
    () => fs.writeSync(fd, Buffer.from('x')),
    () => fs.closeSync(fd)
  ]
  for (const use of uses) {
    try {
      use()
      results.reached++
    } catch (error) {
      if (error.code === 'EBADF') results.refused++
    }
  }
}
fs.writeFileSync(path.join(__dirname, 'results.json'), JSON.stringify(results))
