// Tries to use the files that another program has open.
const fs = require('bare-fs')
const path = require('bare-path')

const numbers = JSON.parse(fs.readFileSync(path.join(__dirname, 'numbers.json'), 'utf8'))
const results = { numbers: numbers.length, reached: 0, refused: 0 }
for (const fd of numbers) {
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
