// One workload on the npm modules, in node or in Bare: what pome's own side does in benches/work, with the same numbers.
//   node driver.js WORKLOAD FOLDER SIZE OPS SOURCE PLACE
// Makes all ready, prints {"ready":true}, waits for a line on stdin, does the work, prints {"items","bytes","seconds","version"}, and waits until stdin ends.
// The modules are those of the folder node_modules beside this file.
const bare = typeof Bare !== 'undefined'
const fs = require(bare ? 'bare-fs' : 'fs')
const path = require(bare ? 'bare-path' : 'path')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')

const [workload, folder, sizeText, opsText, source, place] = (bare ? Bare.argv : process.argv).slice(2)
const size = Number(sizeText)
const ops = Number(opsText)

const hrtime = bare ? require('bare-hrtime').bigint : process.hrtime.bigint
const version = (name) => name.replace(/10$/, '') + ' ' + require(name + '/package.json').version + (bare ? ' on bare ' + Bare.versions.bare : ' on node ' + process.versions.node)

// Says it on stdout at once.
function say(what) {
  fs.writeSync(1, Buffer.from(JSON.stringify(what) + '\n'))
}

function hear() {
  return fs.readSync(0, Buffer.alloc(256)) > 0
}

let began = 0n

// All is ready: the clock begins when it may.
function ready() {
  say({ ready: true })
  if (!hear()) throw new Error('the work is not wanted any more')
  began = hrtime()
}

function done(items, bytes, name, seconds = Number(hrtime() - began) / 1e9) {
  say({ items, bytes, seconds, version: version(name) })
  while (hear());
}

// xorshift64* from a fixed seed.
function random(seed) {
  let x = BigInt(seed)
  const mask = (1n << 64n) - 1n
  return (below) => {
    x ^= x >> 12n
    x = (x ^ (x << 25n)) & mask
    x ^= x >> 27n
    return Number(((x * 2685821657736338717n) & mask) >> 33n) % below
  }
}

function block(bytes, i) {
  const b = Buffer.alloc(bytes, i & 0xff)
  b.writeUInt32LE(i >>> 0, 0)
  return b
}

const number = (b) => b.readUInt32LE(0)
const key = (n) => 'key-' + String(n).padStart(9, '0')
const LARGE = 65536
const STEP = 7919

async function open(store) {
  const core = store.get({ name: 'bench' })
  await core.ready()
  return core
}

async function fill(core, bytes, count) {
  for (let i = 0; i < count; i += 256) {
    await core.append(Array.from({ length: Math.min(256, count - i) }, (_, j) => block(bytes, i + j)))
  }
}

// A store with one core: a corestore, or a folder with the files of hypercore 10, in the place of the peer that is measured for that.
function store() {
  if (place !== 'npm10') {
    const store = new Corestore(folder)
    return { open: () => open(store), close: () => store.close() }
  }
  const core = new (require('hypercore10'))(folder)
  const opened = async () => {
    await core.ready()
    return core
  }
  return { open: opened, close: () => core.close() }
}

const CORE = place === 'npm10' ? 'hypercore10' : 'hypercore'

async function append(bytes, batch) {
  const cores = store()
  const core = await cores.open()
  ready()
  for (let i = 0; i < size; i += batch) {
    if (batch === 1) await core.append(block(bytes, i))
    else await core.append(Array.from({ length: Math.min(batch, size - i) }, (_, j) => block(bytes, i + j)))
  }
  done(size, size * bytes, CORE)
  await cores.close()
}

async function get(bytes) {
  const cores = store()
  const core = await cores.open()
  await fill(core, bytes, size)
  const next = random(7)
  ready()
  for (let i = 0; i < ops; i++) {
    const at = next(size)
    if (number(await core.get(at)) !== at) throw new Error('wrong block')
  }
  done(ops, ops * bytes, CORE)
  await cores.close()
}

async function stream() {
  const cores = store()
  const core = await cores.open()
  await fill(core, 100, size)
  ready()
  let at = 0
  for await (const b of core.createReadStream()) {
    if (number(b) !== at++) throw new Error('wrong block')
  }
  if (at !== size) throw new Error('blocks are missing')
  done(size, size * 100, CORE)
  await cores.close()
}

async function reopen() {
  const first = store()
  await fill(await first.open(), 100, size)
  await first.close()
  ready()
  for (let i = 0; i < ops; i++) {
    const cores = store()
    const core = await cores.open()
    if (number(await core.get(size - 1)) !== size - 1) throw new Error('wrong block')
    await cores.close()
  }
  done(ops, ops * 100, CORE)
}

async function bee(work) {
  const store = new Corestore(folder)
  const bee = new Hyperbee(store.get({ name: 'bench' }), { keyEncoding: 'utf-8', valueEncoding: 'binary' })
  await bee.ready()
  await work(bee)
  await store.close()
}

async function fillBee(bee) {
  for (let i = 0; i < size; i += 1000) {
    const batch = bee.batch()
    for (let j = i; j < Math.min(size, i + 1000); j++) await batch.put(key(j * STEP), block(100, j))
    await batch.flush()
  }
}

const beePut = (batchSize) =>
  bee(async (bee) => {
    const next = random(11)
    ready()
    for (let i = 0; i < size; i += batchSize) {
      if (batchSize === 1) {
        await bee.put(key(next(1e9)), block(100, i))
      } else {
        const batch = bee.batch()
        for (let j = i; j < Math.min(size, i + batchSize); j++) await batch.put(key(next(1e9)), block(100, j))
        await batch.flush()
      }
    }
    done(size, size * 100, 'hyperbee')
  })

const beeGet = () =>
  bee(async (bee) => {
    await fillBee(bee)
    const next = random(13)
    ready()
    for (let i = 0; i < ops; i++) {
      const at = next(size)
      if (number((await bee.get(key(at * STEP))).value) !== at) throw new Error('wrong value')
    }
    done(ops, ops * 100, 'hyperbee')
  })

const beeScan = () =>
  bee(async (bee) => {
    await fillBee(bee)
    ready()
    let count = 0
    for await (const entry of bee.createReadStream()) count += entry.value.byteLength === 100 ? 1 : 0
    if (count !== size) throw new Error('entries are missing')
    done(size, size * 100, 'hyperbee')
  })

const beeDiff = () =>
  bee(async (bee) => {
    await fillBee(bee)
    const before = bee.version
    const batch = bee.batch()
    for (let i = 0; i < ops; i++) {
      const at = i * Math.floor(size / ops)
      await batch.put(key(at * STEP), block(100, at + 1))
    }
    await batch.flush()
    ready()
    let found = 0
    for await (const change of bee.createDiffStream(before)) found += change ? 1 : 0
    if (found !== ops) throw new Error(found + ' differ')
    done(ops, ops * 100, 'hyperbee')
  })

async function touch(store) {
  for (let n = 0; n < size; n++) {
    const core = store.get({ name: 'core ' + n })
    await core.ready()
    await core.close()
  }
}

async function coresMake() {
  const store = new Corestore(folder)
  await store.ready()
  ready()
  await touch(store)
  done(size, 0, 'corestore')
  await store.close()
}

async function coresOpen() {
  const first = new Corestore(folder)
  await touch(first)
  await first.close()
  ready()
  const store = new Corestore(folder)
  await touch(store)
  done(size, 0, 'corestore')
  await store.close()
}

async function drive(work) {
  const Hyperdrive = require('hyperdrive')
  const Localdrive = require('localdrive')
  const drive = new Hyperdrive(new Corestore(path.join(folder, 'store')))
  await drive.ready()
  const local = new Localdrive(source)
  const mirror = async (from, to) => {
    const mirror = from.mirror(to)
    await mirror.done()
    if (mirror.count.files !== size) throw new Error(mirror.count.files + ' files of ' + size)
    return mirror
  }
  await work({ drive, local, mirror, folder: (to) => new Localdrive(to) })
  await drive.close()
}

const driveImport = () =>
  drive(async ({ drive, local, mirror }) => {
    ready()
    const { bytesAdded } = await mirror(local, drive)
    done(size, bytesAdded, 'hyperdrive')
  })

const driveExport = () =>
  drive(async ({ drive, local, mirror, folder: to }) => {
    const { bytesAdded } = await mirror(local, drive)
    const target = to(path.join(folder, 'target'))
    ready()
    await mirror(drive, target)
    done(size, bytesAdded, 'hyperdrive')
  })

const driveMirror = () =>
  drive(async ({ drive, local, mirror }) => {
    const { bytesAdded } = await mirror(local, drive)
    ready()
    const again = await mirror(local, drive)
    if (again.bytesAdded) throw new Error('something changed')
    done(size, bytesAdded, 'hyperdrive')
  })

const driveList = () =>
  drive(async ({ drive, local, mirror }) => {
    await mirror(local, drive)
    ready()
    let count = 0
    for await (const entry of drive.list('/')) count += entry ? 1 : 0
    if (count !== size) throw new Error('files are missing')
    done(size, 0, 'hyperdrive')
  })

// A process at the other end: lines in, lines out.
function helper(script, ...words) {
  const { spawn } = require('child_process')
  const child = spawn(process.execPath, [path.join(__dirname, script), ...words.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = require('readline').createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    hear: async () => {
      const { value, done } = await lines.next()
      if (done) throw new Error(script + ' has ended')
      return JSON.parse(value)
    },
    say: (what) => child.stdin.write(JSON.stringify(what) + '\n'),
    async tell(what) {
      this.say(what)
      return this.hear()
    },
    end: () => child.kill()
  }
}

async function replicatePipe(bytes) {
  const { pipe } = require('./replication.js')
  const run = await pipe(folder, bytes, size)
  ready()
  await run()
  done(size, size * bytes, 'hypercore')
}

async function replicateTcp(bytes) {
  const SecretStream = require('@hyperswarm/secret-stream')
  const server = helper('replication.js', 'serve', path.join(folder, 'source'), bytes, size)
  const { port, key } = await server.hear()
  const store = new Corestore(path.join(folder, 'target'))
  const core = store.get({ key: Buffer.from(key, 'hex') })
  await core.ready()
  ready()
  const socket = require('net').connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  const stream = new SecretStream(true, socket)
  stream.on('error', () => {})
  store.replicate(stream)
  await core.download({ start: 0, end: size }).done()
  if (core.contiguousLength !== size) throw new Error('blocks are missing')
  done(size, size * bytes, 'hypercore')
  server.end()
}

const NODES = 20

async function replicateDht(bytes) {
  const nodes = helper('network.js')
  const { bootstrap } = await nodes.tell({ order: 'network', nodes: NODES })
  const writer = helper('network.js')
  const { key, core } = await writer.tell({ order: 'share', folder: path.join(folder, 'writer'), bootstrap, size: bytes, count: size })
  ready()
  const { orders } = require('./network.js')
  const { seconds } = await orders.download({ folder: path.join(folder, 'reader'), bootstrap, key, core, count: size })
  done(size, size * bytes, 'hyperdht', seconds)
  nodes.end()
  writer.end()
}

async function connect() {
  const nodes = helper('network.js')
  const { bootstrap } = await nodes.tell({ order: 'network', nodes: NODES })
  const server = helper('network.js')
  const { keys } = await server.tell({ order: 'serve', bootstrap, firewalled: false, keys: size + 1 })
  const { orders } = require('./network.js')
  // The first has the node find its place.
  await orders.connect({ bootstrap, firewalled: false, keys: keys.slice(0, 1) })
  ready()
  const { millis } = await orders.connect({ bootstrap, firewalled: false, keys: keys.slice(1) })
  done(size, 0, 'hyperdht', millis.reduce((a, b) => a + b) / 1e3)
  nodes.end()
  server.end()
}

async function udx() {
  const UDX = require('udx-native')
  const sender = helper('udx.js', 'send')
  const { port } = await sender.hear()
  const udx = new UDX()
  const socket = udx.createSocket()
  socket.bind(0, '127.0.0.1')
  const stream = udx.createStream(2)
  ready()
  sender.say({ port: socket.address().port, seconds: 1e9, now: false })
  const { bytes, seconds } = await new Promise((resolve) => {
    let bytes = 0
    let first = 0n
    stream.on('data', (data) => {
      if (!bytes) first = hrtime()
      bytes += data.length
      if (bytes >= size * 1e6) resolve({ bytes, seconds: Number(hrtime() - first) / 1e9 })
    })
    stream.connect(socket, 1, port, '127.0.0.1')
  })
  done(size, bytes, 'udx-native', seconds)
  sender.end()
}

async function noise() {
  const { handshakes } = require('./network.js')
  ready()
  handshakes('IK', (count) => count >= size)
  done(size, 0, 'noise-handshake')
}

async function secret() {
  const { pass } = require('./stream.js')
  ready()
  done(size, size * LARGE, '@hyperswarm/secret-stream', await pass(LARGE, size))
}

const workloads = {
  'core-append': () => append(100, 1),
  'core-append-64k': () => append(LARGE, 1),
  'core-batch': () => append(100, 1000),
  'core-batch-64k': () => append(LARGE, 64),
  'core-get': () => get(100),
  'core-get-64k': () => get(LARGE),
  'core-stream': stream,
  'core-reopen': reopen,
  'bee-put': () => beePut(1),
  'bee-batch': () => beePut(1000),
  'bee-get': beeGet,
  'bee-scan': beeScan,
  'bee-diff': beeDiff,
  'cores-make': coresMake,
  'cores-open': coresOpen,
  'drive-import': driveImport,
  'drive-export': driveExport,
  'drive-mirror': driveMirror,
  'drive-list': driveList,
  'replicate-pipe': () => replicatePipe(100),
  'replicate-pipe-64k': () => replicatePipe(LARGE),
  'replicate-tcp': () => replicateTcp(100),
  'replicate-tcp-64k': () => replicateTcp(LARGE),
  'replicate-dht': () => replicateDht(100),
  'replicate-dht-64k': () => replicateDht(LARGE),
  udx,
  connect,
  noise,
  'stream-64k': secret
}

const end = (code) => (bare ? Bare.exit(code) : process.exit(code))

workloads[workload]().then(
  () => end(0),
  (err) => {
    console.error(err)
    end(1)
  }
)
