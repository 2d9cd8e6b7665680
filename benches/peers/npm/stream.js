// Two secret streams of npm's in one process, joined in memory: the seconds for messages of SIZE bytes, COUNT of them.
//
//   node stream.js SIZE COUNT
// The modules are those that modules.js finds.
const load = require('./modules.js')
const { Duplex } = load('streamx')
const SecretStream = load('@hyperswarm/secret-stream')

// The cheapest pair of raw streams: what one writes the other reads, with the back-pressure of a stream.
function half() {
  const stream = new Duplex({
    write(data, cb) {
      if (stream.other.push(data)) cb(null)
      else stream.other.resumed = cb
    },
    read(cb) {
      const resumed = stream.resumed
      stream.resumed = null
      if (resumed) resumed(null)
      cb(null)
    }
  })
  stream.resumed = null
  return stream
}

async function pass(size, count) {
  const [x, y] = [half(), half()]
  x.other = y
  y.other = x
  const a = new SecretStream(true, x)
  const b = new SecretStream(false, y)
  await Promise.all([a.opened, b.opened])
  let got = 0
  const done = new Promise((resolve) => b.on('data', () => ++got === count && resolve()))
  const message = Buffer.alloc(size, 7)
  const start = process.hrtime.bigint()
  for (let i = 0; i < count; i++) {
    // alloc() is npm's own way without a copy of the sealed message.
    const room = a.alloc(size)
    room.set(message)
    if (!a.write(room)) await new Promise((resolve) => a.once('drain', resolve))
  }
  await done
  return Number(process.hrtime.bigint() - start) / 1e9
}

module.exports = { pass }
if (require.main === module) {
  const [size, count] = process.argv.slice(2).map(Number)
  pass(size, count).then((seconds) => {
    console.log(JSON.stringify({ seconds }))
    process.exit(0)
  })
}
