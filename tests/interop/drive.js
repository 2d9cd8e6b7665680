// A hyperdrive and a hyperbee of npm's, served over TCP; it does what lines of JSON on stdin say, and answers each by one line.
//
//   node drive.js FOLDER
const net = require('net')
const readline = require('readline')
const b4a = require('b4a')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')

const store = new Corestore(process.argv[2])
const drive = new Hyperdrive(store.namespace('drive'))
const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
const sockets = new Set()
let server = null
let uploaded = 0

const hex = (buffer) => b4a.toString(buffer, 'hex')

const drives = new Map()

function theirs(key) {
  if (!drives.has(key)) drives.set(key, new Hyperdrive(store.namespace(key), b4a.from(key, 'hex')))
  return drives.get(key)
}

function replicate(socket) {
  socket.setNoDelay(true)
  sockets.add(socket)
  const stream = store.replicate(false)
  stream.on('error', () => {})
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
  socket.pipe(stream).pipe(socket)
}

// The bytes that both sides make of a seed, so that they need not be sent to be compared.
function bytes(seed, size) {
  const all = b4a.alloc(size)
  for (let i = 0; i < size; i++) all[i] = (seed + i * 7 + (i >> 16)) & 255
  return all
}

const words = {
  // Joins the topic of our drive, or of one by its key, in the network that begins with these nodes.
  async swarm({ bootstrap, key }) {
    const Hyperswarm = require('hyperswarm')
    const nodes = bootstrap.map((node) => ({ host: node.split(':')[0], port: Number(node.split(':')[1]) }))
    const swarm = new Hyperswarm({ bootstrap: nodes })
    swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      store.replicate(connection)
    })
    const target = key ? theirs(key) : drive
    await target.ready()
    const found = key && target.findingPeers()
    const discovery = swarm.join(target.discoveryKey, { server: !key, client: true })
    await discovery.flushed()
    if (key) {
      swarm.flush().then(found, found)
      await target.update()
    }
    return { publicKey: hex(swarm.keyPair.publicKey) }
  },
  // A file of a drive by its key.
  async read({ key, path }) {
    const content = await theirs(key).get(path)
    return { content: content && hex(content) }
  },
  async keys() {
    await drive.ready()
    await bee.ready()
    const blobs = await drive.getBlobs()
    blobs.core.on('upload', () => uploaded++)
    return { drive: hex(drive.key), blobs: hex(blobs.core.key), bee: hex(bee.core.key) }
  },
  async listen({ port }) {
    server = net.createServer(replicate)
    await new Promise((resolve, reject) => server.listen(port || 0, '127.0.0.1', resolve).once('error', reject))
    return { port: server.address().port }
  },
  // Blocks of contents that peers were sent.
  async uploaded() {
    return { uploaded }
  },
  async put({ path, seed, size }) {
    await drive.put(path, bytes(seed, size))
    return { version: drive.version }
  },
  async many({ folder, count }) {
    const batch = drive.batch()
    for (let i = 0; i < count; i++) await batch.put(`${folder}/file-${i}`, b4a.from(`content ${i}`))
    await batch.flush()
    return { version: drive.version }
  },
  async del({ path }) {
    await drive.del(path)
    return { version: drive.version }
  },
  async bee({ entries }) {
    const batch = bee.batch()
    for (const [key, value] of entries) await batch.put(key, value)
    await batch.flush()
    return { version: bee.version }
  },
  // Nobody is served any more, until the next `listen`.
  async hang_up() {
    if (server) await new Promise((resolve) => { server.close(resolve); for (const socket of sockets) socket.destroy() })
    server = null
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
