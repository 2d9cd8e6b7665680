// Has files and a channel open until it hears that another program has tried to reach them, and can still use them then.
const Channel = require('bare-channel')
const fs = require('bare-fs')
const path = require('bare-path')

const at = (name) => path.join(__dirname, name)
const held = []
for (let i = 0; i < 3; i++) {
  fs.writeFileSync(at('held' + i), 'held')
  held.push(fs.openSync(at('held' + i), 'r+'))
}
const channel = new Channel()
const port = channel.connect()
port.unref()
const number = new Float64Array(channel.handle)[0]
fs.writeFileSync(at('numbers.tmp'), JSON.stringify({ held, number }))
fs.renameSync(at('numbers.tmp'), at('numbers.json'))

const timer = setInterval(() => {
  if (!fs.existsSync(at('reached'))) return
  clearInterval(timer)
  for (const fd of held) {
    const read = Buffer.alloc(4)
    if (fs.readSync(fd, read, 0, 4, 0) !== 4 || read.toString() !== 'held') throw new Error('changed')
    fs.closeSync(fd)
  }
  // Nobody has taken the other end.
  const end = channel.connect()
  end.unref()
  end.writeSync('held')
  if (port.readSync() !== 'held') throw new Error('something else was written')
}, 5)
