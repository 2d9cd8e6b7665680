// A process that does with npm's hyperdht what it is told: one line of JSON in, one line of JSON out, one after the other.
//   node --expose-gc network.js
// What it understands: see benches/work/src/network/order.rs. The modules are those that modules.js finds.
const crypto = require('crypto')
const fs = require('fs')
const readline = require('readline')
const load = require('./modules.js')
const Corestore = load('corestore')
const HyperDHT = load('hyperdht')
const Protomux = load('protomux')
const Noise = load('noise-handshake')
const curve = load('noise-curve-ed')

const kept = []

async function node(bootstrap, options) {
  const dht = new HyperDHT({ bootstrap, host: '127.0.0.1', quickFirewall: false, ...options })
  await dht.fullyBootstrapped()
  kept.push(dht)
  return dht
}

const at = (text) => [{ host: '127.0.0.1', port: Number(text.split(':')[1]) }]

function open(socket) {
  const channel = Protomux.from(socket).createChannel({ protocol: 'pome/bench' })
  channel.open()
  return channel
}

let client = null

async function connect(order, key) {
  client ??= await node(at(order.bootstrap), { ephemeral: true, firewalled: order.firewalled })
  const began = process.hrtime.bigint()
  const socket = client.connect(Buffer.from(key, 'hex'), { localConnection: false })
  socket.on('error', (error) => {
    throw error
  })
  if (!(await open(socket).fullyOpened())) throw new Error('the channel did not open')
  return { socket, millis: Number(process.hrtime.bigint() - began) / 1e6 }
}

const orders = {
  async network({ nodes }) {
    const first = await node([], { ephemeral: false, firewalled: false })
    const bootstrap = '127.0.0.1:' + first.address().port
    while (kept.length < nodes) await node(at(bootstrap), { ephemeral: false, firewalled: false })
    return { bootstrap }
  },
  async serve({ bootstrap, firewalled, keys }) {
    const dht = await node(at(bootstrap), { ephemeral: true, firewalled })
    const listening = []
    while (listening.length < keys) {
      const server = dht.createServer({ shareLocalAddress: false }, (socket) => {
        socket.on('error', () => {})
        open(socket)
      })
      await server.listen(HyperDHT.keyPair())
      listening.push(server.publicKey.toString('hex'))
    }
    return { keys: listening }
  },
  async connect(order) {
    const millis = []
    for (const key of order.keys) {
      const made = await connect(order, key)
      millis.push(made.millis)
      made.socket.destroy()
    }
    return { millis }
  },
  async hold(order) {
    for (let i = 0; i < order.connections; i++) kept.push((await connect(order, order.keys[0])).socket)
    return {}
  },
  async share({ folder, bootstrap, size, count }) {
    const store = new Corestore(folder)
    const core = store.get({ name: 'bench' })
    await core.ready()
    for (let done = 0; done < count; ) {
      const batch = Math.min(count - done, Math.max(1, Math.floor((4 << 20) / size)), 1000)
      await core.append(Array.from({ length: batch }, () => crypto.randomBytes(size)))
      done += batch
    }
    const dht = await node(at(bootstrap), { ephemeral: true, firewalled: false })
    const server = dht.createServer({ shareLocalAddress: false }, (socket) => {
      socket.on('error', () => {})
      store.replicate(socket)
    })
    await server.listen(HyperDHT.keyPair())
    kept.push(core)
    return { key: server.publicKey.toString('hex'), core: core.key.toString('hex') }
  },
  async download({ folder, bootstrap, key, core, count }) {
    const store = new Corestore(folder)
    const dht = await node(at(bootstrap), { ephemeral: true, firewalled: false })
    const copy = store.get({ key: Buffer.from(core, 'hex') })
    await copy.ready()
    const began = process.hrtime.bigint()
    const socket = dht.connect(Buffer.from(key, 'hex'), { localConnection: false })
    socket.on('error', () => {})
    store.replicate(socket)
    await copy.download({ start: 0, end: count }).done()
    const seconds = Number(process.hrtime.bigint() - began) / 1e9
    if (copy.contiguousLength !== count) throw new Error('blocks are missing')
    return { seconds }
  },
  async memory() {
    for (let i = 0; i < 5; i++) {
      global.gc()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const line = /^Anonymous: +([0-9]+) kB$/m.exec(fs.readFileSync('/proc/self/smaps_rollup', 'latin1'))
    return { bytes: Number(line[1]) * 1024 }
  },
  async handshakes({ pattern, seconds }) {
    return { perSecond: handshakes(pattern, (_, passed) => passed >= seconds) }
  }
}

// Both sides of handshakes until so many after so many seconds are enough; how many a second.
function handshakes(pattern, enough) {
  const [ours, theirs] = [curve.generateKeyPair(), curve.generateKeyPair()]
  const empty = Buffer.alloc(0)
  const began = process.hrtime.bigint()
  for (let count = 1; ; count++) {
    const a = new Noise(pattern, true, ours, { curve })
    const b = new Noise(pattern, false, theirs, { curve })
    a.initialise(empty, theirs.publicKey)
    b.initialise(empty)
    for (let [from, to] = [a, b]; !(a.complete && b.complete); [from, to] = [to, from]) to.recv(from.send())
    if (!a.hash.equals(b.hash)) throw new Error('two handshakes')
    const passed = Number(process.hrtime.bigint() - began) / 1e9
    if (enough(count, passed)) return count / passed
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line)
    console.log(JSON.stringify(await orders[order.order](order)))
  }
  process.exit(0)
}

module.exports = { orders, handshakes }
if (require.main === module) main()
