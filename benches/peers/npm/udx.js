// One end of a stream of udx-native, in a process of its own: says its port, is told the other's, and sends or reads as fast as it can.
//   node udx.js send|read [sealed]
// The modules are those that modules.js finds.
const readline = require('readline')
const load = require('./modules.js')
const UDX = load('udx-native')

const WRITE = 64 << 10
const [role, sealed] = process.argv.slice(2)
const sends = role === 'send'

const udx = new UDX()
const socket = udx.createSocket()
socket.bind(0, '127.0.0.1')
const raw = udx.createStream(sends ? 1 : 2)
console.log(JSON.stringify({ port: socket.address().port }))

readline.createInterface({ input: process.stdin }).once('line', (line) => {
  const { port, seconds, now } = JSON.parse(line)
  raw.connect(socket, sends ? 2 : 1, port, '127.0.0.1')
  let stream = raw
  if (sealed) {
    const SecretStream = load('@hyperswarm/secret-stream')
    stream = new SecretStream(sends, raw)
  }
  if (sends) return sealed ? stream.on('connect', () => send(stream)) : send(stream)
  let bytes = 0
  let began = now ? process.hrtime.bigint() : null
  const over = () => {
    const passed = Number(process.hrtime.bigint() - began) / 1e9
    if (passed < seconds) return
    console.log(JSON.stringify({ bytes, seconds: passed }))
    process.exit(0)
  }
  if (now) setInterval(over, 5)
  stream.on('data', (data) => {
    bytes += data.length
    if (began === null) began = process.hrtime.bigint()
    over()
  })
})

async function send(stream) {
  const part = Buffer.alloc(WRITE, 7)
  const next = () => {
    if (!sealed) return part
    // npm's own way without a copy of the sealed message.
    const room = stream.alloc(WRITE)
    room.set(part)
    return room
  }
  while (true) {
    if (!stream.write(next())) await new Promise((resolve) => stream.once('drain', resolve))
  }
}
