// Streams of npm's udx-native that do what they are told, in lines of JSON on stdin: {"id", "command", …}. Answers {"id", …}, and says in lines
// {"event", "stream", …} what happens.
const { createHash } = require('crypto')
const readline = require('readline')
const UDX = require('udx-native')

const udx = new UDX()
const sockets = new Map()
const streams = new Map()
let names = 0

// What is written: the same as the other side makes.
const pattern = Buffer.alloc(1 << 20)
for (let i = 0; i < pattern.length; i++) pattern[i] = (i * 7) % 253

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const commands = {
  socket() {
    const socket = udx.createSocket()
    socket.bind(0, '127.0.0.1')
    sockets.set(++names, socket)
    socket.on('message', (message, { port }) => say({ event: 'datagram', text: message.toString(), port }))
    return { socket: names, port: socket.address().port }
  },
  // `accept`: connects to whoever sends first, which is this id there.
  stream({ stream: id, accept, framed = false }) {
    const firewall = (socket, port, host) => {
      if (!stream.connected) stream.connect(socket, accept, port, host)
      return false
    }
    const stream = udx.createStream(id, accept ? { firewall, framed } : { framed })
    const hash = createHash('blake2b512')
    let bytes = 0
    stream.on('data', (data) => {
      bytes += data.length
      hash.update(data)
    })
    stream.on('end', () => say({ event: 'end', stream: id, bytes, hash: hash.digest('hex') }))
    stream.on('message', (message) => say({ event: 'message', stream: id, text: message.toString() }))
    stream.on('remote-changed', () => say({ event: 'changed', stream: id }))
    stream.on('error', (error) => (stream.why = error))
    stream.on('close', () => say({ event: 'close', stream: id, error: stream.why ? stream.why.code : null }))
    streams.set(id, stream)
    return {}
  },
  connect({ stream, socket, remoteId, port }) {
    streams.get(stream).connect(sockets.get(socket), remoteId, port, '127.0.0.1')
    return {}
  },
  changeRemote({ stream, socket, remoteId, port }) {
    streams.get(stream).changeRemote(sockets.get(socket), remoteId, port, '127.0.0.1')
    return {}
  },
  async write({ stream: id, bytes }) {
    const stream = streams.get(id)
    for (let at = 0; at < bytes; ) {
      const begin = at % pattern.length
      const part = pattern.subarray(begin, Math.min(pattern.length, begin + bytes - at, begin + 65536))
      at += part.length
      if (!stream.write(part)) await new Promise((resolve) => stream.once('drain', resolve))
    }
    return {}
  },
  end({ stream }) {
    streams.get(stream).end()
    return {}
  },
  destroy({ stream }) {
    streams.get(stream).destroy()
    return {}
  },
  pause({ stream }) {
    streams.get(stream).pause()
    return {}
  },
  async send({ stream, text }) {
    return { sent: await streams.get(stream).send(Buffer.from(text)) }
  },
  relayTo({ stream, to }) {
    streams.get(stream).relayTo(streams.get(to))
    return {}
  },
  keepalive({ stream, ms }) {
    streams.get(stream).setKeepalive(ms)
    return {}
  },
  stats({ stream: id }) {
    const { mtu, rtt, retransmits, packetsTransmitted, packetsReceived, bytesReceived } = streams.get(id)
    return { mtu, rtt, retransmits, packetsTransmitted, packetsReceived, bytesReceived }
  }
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, ...args } = JSON.parse(line)
  try {
    say({ id, ...(await commands[command](args)) })
  } catch (error) {
    say({ id, error: error.message })
  }
}).on('close', () => process.exit(0))
