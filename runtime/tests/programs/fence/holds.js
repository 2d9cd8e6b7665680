// Has files open until it hears that another program has tried to reach them, and can still use them then.
const fs = require('bare-fs')
const path = require('bare-path')

const at = (name) => path.join(__dirname, name)
const held = []
for (let i = 0; i < 3; i++) {
  fs.writeFileSync(at('held' + i), 'held')
  held.push(fs.openSync(at('held' + i), 'r+'))
}
fs.writeFileSync(at('numbers.tmp'), JSON.stringify(held))
fs.renameSync(at('numbers.tmp'), at('numbers.json'))

const timer = setInterval(() => {
  if (!fs.existsSync(at('reached'))) return
  clearInterval(timer)
  for (const fd of held) {
    const read = Buffer.alloc(4)
    if (fs.readSync(fd, read, 0, 4, 0) !== 4 || read.toString() !== 'held') throw new Error('changed')
    fs.closeSync(fd)
  }
}, 5)
