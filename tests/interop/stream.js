// A peer made of the npm modules: protomux over secret-stream over TCP. Echoes on channels of the protocol `pome/echo`, and does what it is told
// in its messages of kind 0. Says what it sees in lines of JSON.
//
//   node stream.js listen [keepAlive]       prints {"port"}
//   node stream.js dial PORT [keepAlive]
const net = require('net')
const b4a = require('b4a')
const c = require('compact-encoding')
const SecretStream = require('@hyperswarm/secret-stream')
const Protomux = require('protomux')

const say = (what) => console.log(JSON.stringify(what))
const hex = (buffer) => (buffer ? b4a.toString(buffer, 'hex') : null)

const [mode, ...rest] = process.argv.slice(2)
if (mode === 'listen') {
  const server = net.createServer((socket) => serve(socket, false, rest[0]))
  server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))
} else {
  const socket = net.connect(Number(rest[0]), '127.0.0.1')
  serve(socket, true, rest[1])
}

function serve(socket, isInitiator, keepAlive) {
  socket.setNoDelay(true)
  const stream = new SecretStream(isInitiator, socket, { keepAlive: Number(keepAlive || 0) })
  const mux = new Protomux(stream)
  stream.on('connect', () =>
    say({
      event: 'connect',
      hash: hex(stream.handshakeHash),
      publicKey: hex(stream.publicKey),
      remotePublicKey: hex(stream.remotePublicKey)
    })
  )
  stream.on('error', (error) => say({ event: 'error', message: error.message }))
  stream.on('end', () => say({ event: 'end' }))
  stream.on('close', () => {
    say({ event: 'close' })
    if (mode === 'dial') process.exit(0)
  })
  mux.pair({ protocol: 'pome/echo' }, (id) => echo(stream, mux, 'pome/echo', id, []))
  // Under its old name only; the peer may know a newer one.
  mux.pair({ protocol: 'pome/old' }, (id) => echo(stream, mux, 'pome/old', id, []))
  if (isInitiator) echo(stream, mux, 'pome/echo', b4a.alloc(32, 7), [])
}

function echo(stream, mux, protocol, id, aliases) {
  const channel = mux.createChannel({
    protocol,
    aliases,
    id,
    handshake: c.string,
    messages: [
      { encoding: c.string, onmessage: obey },
      { encoding: c.buffer, onmessage: (buffer) => channel.messages[1].send(buffer || b4a.alloc(0)) },
      { encoding: c.uint }
    ],
    onopen: (handshake) => say({ event: 'open', protocol, id: hex(id), handshake }),
    onclose: (remote) => say({ event: 'channel closed', id: hex(id), remote })
  })
  if (channel === null) return say({ event: 'no channel', id: hex(id) })
  channel.open('from npm')

  function obey(text) {
    const [word, n] = text.split(' ')
    if (word === 'count') {
      // So many messages in one batch.
      mux.cork()
      for (let i = 0; i < Number(n); i++) channel.messages[2].send(i)
      mux.uncork()
    } else if (word === 'flood') {
      // So many messages, each for itself, whatever the stream says of room.
      for (let i = 0; i < Number(n); i++) channel.messages[1].send(b4a.alloc(1000, i & 255))
      channel.messages[2].send(Number(n))
    } else if (word === 'close') {
      channel.close()
    } else if (word === 'open') {
      echo(stream, mux, 'pome/unknown', b4a.alloc(4, Number(n)), [])
    } else if (word === 'end') {
      stream.end()
    } else if (word === 'garbage') {
      stream.rawStream.end(b4a.alloc(100, 255))
    } else {
      say({ event: 'unknown word', text })
    }
  }
}
