// A relay of npm's dht-relay, and its clients, which do what they are told: one line of JSON in, one line of JSON out, with the same `id`.
//
//   node dht_relay.js
const net = require('net')
const readline = require('readline')
const b4a = require('b4a')
const HyperDHT = require('hyperdht')
const Relay = require('@hyperswarm/dht-relay')
const Stream = require('@hyperswarm/dht-relay/tcp')

const things = new Map()
let next = 0

const hex = (buffer) => (buffer ? b4a.toString(buffer, 'hex') : null)
const unhex = (text) => b4a.from(text, 'hex')
const say = (what) => console.log(JSON.stringify(what))
const keep = (thing) => {
  things.set(++next, thing)
  return next
}
const parse = (text) => {
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
}
const pair = (seed) => HyperDHT.keyPair(unhex(seed))

/// Gives back what it hears, and ends when the other side does.
const echo = (stream) => {
  stream.on('error', () => {})
  stream.on('data', (data) => stream.write(b4a.concat([b4a.from('npm: '), data])))
  stream.on('end', () => stream.end())
}

const commands = {
  async node({ bootstrap }) {
    const dht = new HyperDHT({ bootstrap: bootstrap.map(parse), ephemeral: true, firewalled: false, host: '127.0.0.1' })
    await dht.fullyBootstrapped()
    return { thing: keep(dht) }
  },
  // Serves a node of the DHT to clients over TCP.
  async relay({ node }) {
    const server = net.createServer((socket) => {
      const stream = new Stream(false, socket)
      stream.on('error', () => {})
      Relay.relay(things.get(node), stream)
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { port: server.address().port }
  },
  async client({ port, custodial }) {
    const stream = new Stream(true, net.connect(port, '127.0.0.1'))
    stream.on('error', () => {})
    const client = new Relay(stream, { custodial })
    await client.ready()
    return { thing: keep(client) }
  },
  // Says something to a peer by key: what comes back.
  async say({ by, publicKey, text, seed }) {
    const stream = things.get(by).connect(unhex(publicKey), seed ? { keyPair: pair(seed) } : {})
    return new Promise((resolve) => {
      const chunks = []
      let length = 0
      stream.on('error', (error) => resolve({ refused: error.message }))
      stream.on('data', (data) => {
        chunks.push(data)
        length += data.byteLength
        if (length >= text.length) {
          stream.end()
          resolve({
            text: b4a.toString(b4a.concat(chunks)),
            remotePublicKey: hex(stream.remotePublicKey),
            handshakeHash: hex(stream.handshakeHash)
          })
        }
      })
      stream.write(b4a.from(text))
    })
  },
  async listen({ by, seed, refuse = [] }) {
    const seen = []
    const server = things.get(by).createServer({ firewall: (key) => refuse.includes(hex(key)) }, (stream) => {
      seen.push(hex(stream.remotePublicKey))
      echo(stream)
    })
    await server.listen(pair(seed))
    return { thing: keep({ server, seen }), publicKey: hex(server.publicKey) }
  },
  async seen({ thing }) {
    return { seen: things.get(thing).seen }
  },
  async close({ thing }) {
    await things.get(thing).server.close()
    return {}
  },
  async announce({ by, topic, seed }) {
    const query = things.get(by).announce(unhex(topic), pair(seed), [])
    await query.resume().finished()
    return {}
  },
  async unannounce({ by, topic, seed }) {
    await things.get(by).unannounce(unhex(topic), pair(seed))
    return {}
  },
  async lookup({ by, topic }) {
    const keys = new Set()
    const query = things.get(by).lookup(unhex(topic))
    query.on('data', (found) => found.peers.forEach((peer) => keys.add(hex(peer.publicKey))))
    await query.resume().finished()
    return { keys: [...keys].sort() }
  }
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, ...options } = JSON.parse(line)
  try {
    say({ id, ...(await commands[command](options)) })
  } catch (error) {
    say({ id, error: error.code || error.message })
  }
})
process.stdin.on('end', () => process.exit(0))
