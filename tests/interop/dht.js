// Nodes made of npm's dht-rpc and hyperdht, which do what they are told: one line of JSON in, one line of JSON out, with the same `id`.
//
//   node dht.js
const readline = require('readline')
const b4a = require('b4a')
const c = require('compact-encoding')
const HyperDHT = require('hyperdht')
const Protomux = require('protomux')
const blindRelay = require(require.resolve('blind-relay', { paths: [require.resolve('hyperdht')] }))

const nodes = new Map()
const servers = new Map()
const relays = new Map()
let next = 0

const hex = (buffer) => (buffer ? b4a.toString(buffer, 'hex') : null)
const unhex = (text) => b4a.from(text, 'hex')
const at = ({ host, port }) => host + ':' + port
const say = (what) => console.log(JSON.stringify(what))
const keep = (map, thing) => {
  map.set(++next, thing)
  return next
}
const parse = (text) => {
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
}

const commands = {
  // A node: lasting and reachable unless it is told otherwise.
  async node({ bootstrap = [], ephemeral = false, firewalled = false, quickFirewall = true, host = '127.0.0.1', seed }) {
    const dht = new HyperDHT({
      bootstrap: bootstrap.map(parse),
      ephemeral,
      firewalled,
      quickFirewall,
      host,
      seed: seed ? unhex(seed) : undefined
    })
    await dht.fullyBootstrapped()
    return {
      node: keep(nodes, dht),
      port: dht.io.serverSocket.address().port,
      ephemeral: dht.ephemeral,
      firewalled: dht.firewalled,
      publicKey: hex(dht.defaultKeyPair.publicKey)
    }
  },
  async kill({ node }) {
    await nodes.get(node).destroy({ force: true })
    nodes.delete(node)
    return {}
  },
  async know({ node }) {
    return { nodes: nodes.get(node).toArray().map(at), host: nodes.get(node).host }
  },
  async ping({ node, to }) {
    const reply = await nodes.get(node).ping(parse(to))
    return { from: at(reply.from), to: at(reply.to) }
  },
  async findNode({ node, target }) {
    const query = nodes.get(node).findNode(unhex(target))
    await query.finished()
    return { closest: query.closestNodes.map(at) }
  },
  async lookup({ node, target }) {
    const peers = new Map()
    for await (const reply of nodes.get(node).lookup(unhex(target))) {
      for (const peer of reply.peers) peers.set(hex(peer.publicKey), peer.relayAddresses.map(at))
    }
    return { peers: [...peers].sort() }
  },
  async announce({ node, target, seed, relayAddresses = [] }) {
    const keyPair = HyperDHT.keyPair(unhex(seed))
    const query = nodes.get(node).announce(unhex(target), keyPair, relayAddresses.map(parse))
    await query.finished()
    return { publicKey: hex(keyPair.publicKey), closest: query.closestNodes.length }
  },
  async unannounce({ node, target, seed }) {
    await nodes.get(node).unannounce(unhex(target), HyperDHT.keyPair(unhex(seed)))
    return {}
  },
  async findPeer({ node, publicKey }) {
    for await (const reply of nodes.get(node).findPeer(unhex(publicKey))) {
      if (reply.peer) return { publicKey: hex(reply.peer.publicKey) }
    }
    return { publicKey: null }
  },
  async immutablePut({ node, value }) {
    const { hash } = await nodes.get(node).immutablePut(unhex(value))
    return { hash: hex(hash) }
  },
  async immutableGet({ node, hash }) {
    const found = await nodes.get(node).immutableGet(unhex(hash))
    return { value: found && hex(found.value) }
  },
  async mutablePut({ node, seed, value, seq }) {
    const keyPair = HyperDHT.keyPair(unhex(seed))
    const codes = []
    // What each of the closest nodes answers: the module itself looks at none of the errors.
    const dht = nodes.get(node)
    const request = dht.request
    dht.request = async (...args) => {
      const reply = await request.apply(dht, args)
      codes.push(reply.error)
      return reply
    }
    try {
      await dht.mutablePut(keyPair, unhex(value), { seq })
    } finally {
      delete dht.request
    }
    return { publicKey: hex(keyPair.publicKey), codes: [...new Set(codes)].sort() }
  },
  async mutableGet({ node, publicKey, seq = 0, latest = true }) {
    const found = await nodes.get(node).mutableGet(unhex(publicKey), { seq, latest })
    return found ? { seq: found.seq, value: hex(found.value) } : { seq: null, value: null }
  },
  // A server that sends back what comes.
  async listen({ node, seed, refuse = false, relayThrough, holepunch, reusableSocket }) {
    const options = {
      firewall: () => refuse,
      relayThrough: relayThrough ? unhex(relayThrough) : null,
      holepunch: holepunch === false ? false : undefined,
      reusableSocket
    }
    const server = nodes.get(node).createServer(options, (socket) => {
      const publicKey = hex(socket.remotePublicKey)
      say({ event: 'connection', publicKey })
      socket.on('error', () => {})
      socket.on('close', () => say({ event: 'closed', publicKey }))
      const mux = Protomux.from(socket)
      mux.pair({ protocol: 'pome/echo' }, () => channel(mux, (echo, data) => echo.send(data)))
    })
    const keyPair = HyperDHT.keyPair(unhex(seed))
    await server.listen(keyPair)
    return { server: keep(servers, server), publicKey: hex(keyPair.publicKey) }
  },
  // A server that relays for whoever knows its key.
  async relay({ node, seed }) {
    const dht = nodes.get(node)
    const relay = new blindRelay.Server({
      createStream: (options) => dht.createRawStream({ ...options, framed: true })
    })
    const server = dht.createServer((socket) => {
      socket.on('error', () => {})
      relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {})
    })
    const keyPair = HyperDHT.keyPair(unhex(seed))
    await server.listen(keyPair)
    relays.set(node, relay)
    return { server: keep(servers, server), publicKey: hex(keyPair.publicKey) }
  },
  async relayed({ node }) {
    const { pairings } = relays.get(node).stats
    return { matched: pairings.matched, active: pairings.active, requested: pairings.requested }
  },
  async closeServer({ server }) {
    await servers.get(server).close()
    return {}
  },
  // Connects, sends, reads as much as it sent, ends.
  async echo({ node, publicKey, bytes, local = true, relayThrough, holepunch = true, reusableSocket }) {
    const socket = nodes.get(node).connect(unhex(publicKey), {
      localConnection: local,
      relayThrough: relayThrough ? unhex(relayThrough) : undefined,
      holepunch: () => holepunch,
      reusableSocket
    })
    return new Promise((resolve, reject) => {
      const data = b4a.alloc(bytes, 7)
      const began = Date.now()
      let same = null
      let ms = null
      let remoteHost = null
      socket.on('error', reject)
      socket.on('open', () => {
        ms = Date.now() - began
        remoteHost = socket.rawStream.remoteHost
      })
      socket.on('close', () => {
        resolve({ same, remote: hex(socket.remotePublicKey), remoteHost, ms })
      })
      const echo = channel(Protomux.from(socket), (echo, data2) => {
        same = b4a.equals(data, data2)
        socket.end()
      })
      echo.send(data)
    })
  }
}

function channel(mux, onmessage) {
  const channel = mux.createChannel({ protocol: 'pome/echo' })
  const echo = channel.addMessage({
    encoding: c.buffer,
    onmessage: (data) => onmessage(echo, data)
  })
  channel.open()
  return echo
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, ...rest } = JSON.parse(line)
  try {
    say({ id, ...(await commands[command](rest)) })
  } catch (error) {
    say({ id, error: error.code || error.message })
  }
})
process.stdin.on('end', () => process.exit(0))
