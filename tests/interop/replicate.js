// A corestore of npm's that replicates over TCP and does what lines of JSON on stdin say; each is answered by one line.
//
//   node replicate.js FOLDER
const net = require('net')
const readline = require('readline')
const b4a = require('b4a')
const Corestore = require('corestore')
const crypto = require('hypercore-crypto')

const store = new Corestore(process.argv[2])
const cores = new Map()
const sockets = []

const hex = (buffer) => b4a.toString(buffer, 'hex')

async function open({ name, key }) {
  const id = name || key
  if (!cores.has(id)) cores.set(id, store.get(name ? { name } : { key: b4a.from(key, 'hex') }))
  const core = cores.get(id)
  await core.ready()
  return core
}

function replicate(socket, isInitiator) {
  socket.setNoDelay(true)
  sockets.push(socket)
  const stream = store.replicate(isInitiator)
  stream.on('error', () => {})
  socket.on('error', () => {})
  socket.pipe(stream).pipe(socket)
}

// The bytes that both sides make of a number, so that they need not be sent to be compared.
function block(index, size) {
  const bytes = b4a.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = (index * 31 + i) & 255
  return bytes
}

const words = {
  async listen() {
    const server = net.createServer((socket) => replicate(socket, false))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { port: server.address().port }
  },
  async connect({ port }) {
    const socket = net.connect(port, '127.0.0.1')
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    replicate(socket, true)
    return {}
  },
  async append({ core, from, count, size }) {
    const c = await open(core)
    const blocks = []
    for (let i = 0; i < count; i++) blocks.push(block(from + i, size))
    await c.append(blocks)
    return { key: hex(c.key), length: c.length, discoveryKey: hex(c.discoveryKey) }
  },
  async get({ core, index }) {
    const c = await open(core)
    return { block: hex(await c.get(index)) }
  },
  // The hash of all blocks, got as a download gets them.
  async download({ core, length }) {
    const c = await open(core)
    await c.download({ start: 0, end: length }).done()
    const parts = []
    for (let i = 0; i < length; i++) parts.push(await c.get(i, { wait: false }))
    return { hash: hex(crypto.hash(parts)), length: c.length }
  },
  async seek({ core, bytes }) {
    const c = await open(core)
    return { seek: await c.seek(bytes) }
  },
  async truncate({ core, length }) {
    const c = await open(core)
    await c.truncate(length)
    return { length: c.length, fork: c.fork }
  },
  // Waits until the core has this length on this fork.
  async until({ core, length, fork }) {
    const c = await open(core)
    while (c.length !== length || c.fork !== fork) await new Promise((resolve) => setTimeout(resolve, 10))
    return { length: c.length, fork: c.fork }
  },
  async hang_up() {
    for (const socket of sockets.splice(0)) socket.destroy()
    return {}
  }
}

const input = readline.createInterface({ input: process.stdin })
input.on('line', async (line) => {
  try {
    const { word, ...rest } = JSON.parse(line)
    console.log(JSON.stringify(await words[word](rest)))
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }))
  }
})
input.on('close', () => process.exit(0))
