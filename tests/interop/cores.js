// A peer made of npm's corestore over secret-stream over TCP. Does what it is told in lines of JSON, and answers each in one.
//
//   node cores.js FOLDER      prints {"port"}; stdin: {"cmd", ...}
const net = require('net')
const readline = require('readline')
const b4a = require('b4a')
const crypto = require('hypercore-crypto')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')
const SecretStream = require('@hyperswarm/secret-stream')

const say = (what) => console.log(JSON.stringify(what))
const hex = (buffer) => (buffer ? b4a.toString(buffer, 'hex') : null)
const store = new Corestore(process.argv[2])
const cores = new Map()
const drives = new Map()
const extensions = new Map()
const received = []

const server = net.createServer((socket) => join(socket, false))
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))

function join(socket, isInitiator) {
  socket.setNoDelay(true)
  const stream = new SecretStream(isInitiator, socket)
  stream.on('error', () => {})
  store.replicate(stream)
}

function remember(core, name) {
  const id = name || hex(core.key)
  cores.set(id, core)
  return describe(id, core)
}

// npm's treeHash fetches the last block, and waits until somebody has it: only for cores whose end is to be had.
async function describe(id, core) {
  return { ...lengths(id, core), treeHash: hex(await core.treeHash()) }
}

function lengths(id, core) {
  return {
    id,
    key: hex(core.key),
    length: core.length,
    fork: core.fork,
    byteLength: core.byteLength,
    contiguousLength: core.contiguousLength,
    peers: core.peers.length
  }
}

const TEXT = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const pairs = (seeds) => seeds.map((seed) => crypto.keyPair(b4a.alloc(32, seed)))

async function longer(core, length) {
  await core.ready()
  while (core.length < length) await new Promise((resolve) => setTimeout(resolve, 5))
}

const commands = {
  async create({ name, encryptionKey }) {
    const options = { name }
    if (encryptionKey) options.encryption = { key: b4a.from(encryptionKey, 'hex') }
    const core = store.get(options)
    await core.ready()
    return remember(core)
  },
  async many({ count }) {
    const keys = []
    for (let i = 0; i < count; i++) {
      const core = store.get({ name: 'core ' + i })
      await core.append('in ' + i)
      keys.push(hex(core.key))
    }
    return { keys }
  },
  // The first block of each of these cores.
  async readMany({ keys }) {
    const read = async (key) => {
      const core = store.get({ key: b4a.from(key, 'hex') })
      return b4a.toString(await core.get(0))
    }
    return { blocks: await Promise.all(keys.map(read)) }
  },
  // A core that two of the key pairs of these seeds must sign for.
  async multi({ seeds }) {
    const signers = pairs(seeds).map(({ publicKey }) => ({ publicKey }))
    const core = store.get({ manifest: { version: 1, quorum: 2, signers } })
    await core.ready()
    return remember(core)
  },
  async appendSigned({ id, seeds, by, blocks }) {
    const core = cores.get(id)
    const batch = core.state.createTreeBatch()
    for (const block of blocks) batch.append(b4a.from(block))
    const verifier = core.core.verifier
    const part = (signer) => ({ signer, signature: verifier.sign(batch, pairs(seeds)[signer]), patch: 0, nodes: null })
    await core.append(blocks, { signature: verifier.assemble(by.map(part)) })
    return describe(id, core)
  },
  async snapshot({ id }) {
    const snapshot = cores.get(id).snapshot()
    await snapshot.ready()
    cores.set(id + ' then', snapshot)
    return { ...lengths(id + ' then', snapshot), byteLength: snapshot.byteLength }
  },
  async beePut({ name, from, count }) {
    const core = store.get({ name })
    const batch = new Hyperbee(core, TEXT).batch()
    for (let i = from; i < from + count; i++) await batch.put('key ' + i, 'value ' + i)
    await batch.flush()
    return { key: hex(core.key), length: core.length }
  },
  // All entries, once there are so many blocks.
  async beeAll({ key, length }) {
    const core = store.get({ key: b4a.from(key, 'hex') })
    await longer(core, length)
    const entries = []
    for await (const { key, value } of new Hyperbee(core, TEXT).createReadStream()) entries.push([key, value])
    return { entries }
  },
  async drivePut({ name, files }) {
    // One for each: a drive has its cores for itself.
    if (!drives.has(name)) drives.set(name, new Hyperdrive(store.namespace(name)))
    const drive = drives.get(name)
    for (const [path, text] of Object.entries(files)) await drive.put(path, b4a.from(text))
    return { key: hex(drive.key), length: drive.core.length }
  },
  async driveAll({ key, length }) {
    const drive = new Hyperdrive(store.session(), b4a.from(key, 'hex'))
    await drive.ready()
    await longer(drive.core, length)
    const files = {}
    for await (const { key } of drive.list()) files[key] = b4a.toString(await drive.get(key))
    return { files }
  },
  async open({ key, encryptionKey, quick }) {
    const options = { key: b4a.from(key, 'hex') }
    if (encryptionKey) options.encryption = { key: b4a.from(encryptionKey, 'hex') }
    const core = store.get(options)
    await core.ready()
    if (!quick) return remember(core)
    cores.set(key, core)
    return lengths(key, core)
  },
  async append({ id, blocks, prefix, from, count }) {
    const core = cores.get(id)
    await core.append(blocks || Array.from({ length: count }, (_, i) => prefix + (from + i)))
    return describe(id, core)
  },
  async truncate({ id, length }) {
    await cores.get(id).truncate(length)
    return describe(id, cores.get(id))
  },
  async get({ id, index, timeout }) {
    const block = await cores.get(id).get(index, { timeout: timeout || 600000, valueEncoding: 'binary' })
    return { block: hex(block) }
  },
  async has({ id, start, end }) {
    return { has: await cores.get(id).has(start, end) }
  },
  async download({ id, start, end, linear }) {
    await cores.get(id).download({ start, end, linear }).done()
    return lengths(id, cores.get(id))
  },
  async live({ id }) {
    cores.get(id).download({ start: 0, end: -1 })
    return {}
  },
  async seek({ id, bytes }) {
    return { seek: await cores.get(id).seek(bytes, { timeout: 600000 }) }
  },
  async update({ id }) {
    return { updated: await cores.get(id).update({ wait: true }) }
  },
  async info({ id }) {
    return describe(id, cores.get(id))
  },
  // Waits until the core has this length and fork.
  async reach({ id, length, fork }) {
    const core = cores.get(id)
    const until = Date.now() + 600000
    while (core.length !== length || core.fork !== fork) {
      if (Date.now() > until) return { ...(await describe(id, core)), late: true }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return describe(id, core)
  },
  async extension({ id, name }) {
    const extension = cores.get(id).registerExtension(name, {
      encoding: 'utf-8',
      onmessage: (message) => received.push(message)
    })
    extensions.set(name, extension)
    return {}
  },
  async broadcast({ name, message }) {
    extensions.get(name).broadcast(message)
    return {}
  },
  async received({ count }) {
    const until = Date.now() + 600000
    while (received.length < count && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 10))
    return { received: received.splice(0) }
  },
  async dial({ port }) {
    join(net.connect(port, '127.0.0.1'), true)
    return {}
  },
  async quit() {
    await store.close()
    setTimeout(() => process.exit(0), 10)
    return {}
  }
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { tag, cmd, ...rest } = JSON.parse(line)
  try {
    say({ tag, ...(await commands[cmd](rest)) })
  } catch (error) {
    say({ tag, error: error.message, code: error.code || null })
  }
})
