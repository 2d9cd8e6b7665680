// One side of a replication on the npm modules, or both.
//   node replication.js serve FOLDER SIZE COUNT       fills a core, prints {"port","key"}, serves until stdin ends
//   node replication.js fetch FOLDER KEY PORT COUNT   downloads it all, prints {"seconds"}
//   node replication.js pipe FOLDER SIZE COUNT        both in one process over a pipe, prints {"seconds"}
//   node replication.js append FOLDER COUNT           prints {"port","key"}; after a line on stdin appends COUNT blocks that say when
//   node replication.js follow FOLDER KEY PORT COUNT  prints {"ready"}, gets each as it comes, prints {"micros":[…]}
//   node replication.js versions                      prints {"versions"}
// The modules are those that modules.js finds.
const net = require('net')
const path = require('path')
const crypto = require('crypto')
const load = require('./modules.js')
const Corestore = load('corestore')
const SecretStream = load('@hyperswarm/secret-stream')

const say = (what) => console.log(JSON.stringify(what))
const [role, folder, ...rest] = process.argv.slice(2)
const seconds = (start) => Number(process.hrtime.bigint() - start) / 1e9

async function fill(core, size, count) {
  for (let at = 0; at < count; ) {
    const batch = Math.min(count - at, Math.max(1, Math.floor((4 << 20) / size)), 1000)
    await core.append(Array.from({ length: batch }, () => crypto.randomBytes(size)))
    at += batch
  }
}

function join(store, socket, isInitiator) {
  socket.setNoDelay(true)
  const stream = new SecretStream(isInitiator, socket)
  stream.on('error', () => {})
  store.replicate(stream)
}

async function listen(store, core) {
  const server = net.createServer((socket) => join(store, socket, false))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  say({ port: server.address().port, key: core.key.toString('hex') })
}

// Two stores in one process, of which one has a core; what has the other have it too.
async function pipe(folder, size, count) {
  const from = new Corestore(path.join(folder, 'from'))
  const to = new Corestore(path.join(folder, 'to'))
  const core = from.get({ name: 'bench' })
  await core.ready()
  await fill(core, size, count)
  const copy = to.get({ key: core.key })
  await copy.ready()
  return async () => {
    const a = from.replicate(true)
    const b = to.replicate(false)
    a.pipe(b).pipe(a)
    await copy.download({ start: 0, end: count }).done()
  }
}

module.exports = { pipe }

// From the start: either may come before it is waited for.
const alone = require.main === module
const line = new Promise((resolve) => alone && process.stdin.once('data', resolve))
const ended = new Promise((resolve) => alone && process.stdin.once('end', resolve))

const roles = {
  async serve(size, count) {
    const store = new Corestore(folder)
    const core = store.get({ name: 'bench' })
    await core.ready()
    if (core.length === 0) await fill(core, Number(size), Number(count))
    await listen(store, core)
    await ended
  },
  async fetch(key, port, count) {
    const store = new Corestore(folder)
    const core = store.get({ key: Buffer.from(key, 'hex') })
    await core.ready()
    const start = process.hrtime.bigint()
    join(store, net.connect(Number(port), '127.0.0.1'), true)
    await core.download({ start: 0, end: Number(count) }).done()
    const took = seconds(start)
    if (core.contiguousLength !== Number(count)) throw new Error('blocks are missing')
    say({ seconds: took })
  },
  async pipe(size, count) {
    const run = await pipe(folder, Number(size), Number(count))
    const start = process.hrtime.bigint()
    await run()
    say({ seconds: seconds(start) })
  },
  async append(count) {
    const store = new Corestore(folder)
    const core = store.get({ name: 'bench' })
    await core.ready()
    await listen(store, core)
    await line
    for (let n = 0; n < Number(count); n++) {
      const block = Buffer.alloc(100)
      block.writeBigUInt64LE(process.hrtime.bigint())
      await core.append(block)
      await new Promise((resolve) => setTimeout(resolve, 4))
    }
    await ended
  },
  async follow(key, port, count) {
    const store = new Corestore(folder)
    const core = store.get({ key: Buffer.from(key, 'hex') })
    await core.ready()
    join(store, net.connect(Number(port), '127.0.0.1'), true)
    await new Promise((resolve) => core.once('peer-add', resolve))
    say({ ready: true })
    const micros = []
    for (let n = 0; n < Number(count); n++) {
      const block = await core.get(n)
      micros.push(Number(process.hrtime.bigint() - block.readBigUInt64LE()) / 1e3)
    }
    say({ micros })
  },
  async versions() {
    const names = ['hypercore', 'corestore', '@hyperswarm/secret-stream']
    const versions = names.map((name) => name + ' ' + load(name + '/package.json').version)
    say({ versions: [...versions, 'node ' + process.version] })
  }
}

if (alone) {
  roles[role](...rest).then(
    () => process.exit(0),
    (error) => {
      console.error(error)
      process.exit(1)
    }
  )
}
