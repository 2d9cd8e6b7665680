// One workload on the npm modules. Prints one line of JSON: {"seconds":…,"items":…,"bytes":…,"version":…}.
//   node driver.js WORKLOAD FOLDER COUNT [SOURCE]
// The modules are those of tests/interop.
const path = require('path')
const { createRequire } = require('module')
const load = createRequire(path.join(__dirname, '../../../tests/interop/package.json'))
const Corestore = load('corestore')
const Hyperbee = load('hyperbee')
const Hyperdrive = load('hyperdrive')
const Localdrive = load('localdrive')

const [workload, folder, countText, source] = process.argv.slice(2)
const count = Number(countText)

// The same numbers as the other driver: xorshift64* from a fixed seed.
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

const version = (name) => load(name + '/package.json').version

function block(size, i) {
  const b = Buffer.alloc(size, i & 0xff)
  b.writeUInt32LE(i >>> 0, 0)
  return b
}

async function timed(work) {
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1e9
}

async function append(size, batch) {
  const store = new Corestore(folder)
  const core = store.get({ name: 'bench' })
  await core.ready()
  const seconds = await timed(async () => {
    for (let i = 0; i < count; i += batch) {
      if (batch === 1) await core.append(block(size, i))
      else await core.append(Array.from({ length: Math.min(batch, count - i) }, (_, j) => block(size, i + j)))
    }
  })
  await store.close()
  return { seconds, items: count, bytes: count * size, version: 'hypercore ' + version('hypercore') }
}

async function get(size) {
  const store = new Corestore(folder)
  const core = store.get({ name: 'bench' })
  await core.ready()
  const blocks = size > 1000 ? 1024 : 100000
  for (let i = 0; i < blocks; i += 256) {
    await core.append(Array.from({ length: Math.min(256, blocks - i) }, (_, j) => block(size, i + j)))
  }
  const next = random(7)
  const seconds = await timed(async () => {
    for (let i = 0; i < count; i++) {
      const at = next(blocks)
      const b = await core.get(at)
      if (b.readUInt32LE(0) !== at) throw new Error('wrong block')
    }
  })
  await store.close()
  return { seconds, items: count, bytes: count * size, version: 'hypercore ' + version('hypercore') }
}

const key = (n) => 'key-' + String(n).padStart(9, '0')

async function beePut(batchSize) {
  const store = new Corestore(folder)
  const bee = new Hyperbee(store.get({ name: 'bench' }), { keyEncoding: 'utf-8', valueEncoding: 'binary' })
  await bee.ready()
  const next = random(11)
  const seconds = await timed(async () => {
    for (let i = 0; i < count; i += batchSize) {
      if (batchSize === 1) {
        await bee.put(key(next(1e9)), block(100, i))
      } else {
        const batch = bee.batch()
        for (let j = i; j < Math.min(count, i + batchSize); j++) await batch.put(key(next(1e9)), block(100, j))
        await batch.flush()
      }
    }
  })
  await store.close()
  return { seconds, items: count, bytes: count * 100, version: 'hyperbee ' + version('hyperbee') }
}

async function beeGet() {
  const store = new Corestore(folder)
  const bee = new Hyperbee(store.get({ name: 'bench' }), { keyEncoding: 'utf-8', valueEncoding: 'binary' })
  await bee.ready()
  const keys = 20000
  for (let i = 0; i < keys; i += 1000) {
    const batch = bee.batch()
    for (let j = i; j < i + 1000; j++) await batch.put(key(j * 7919), block(100, j))
    await batch.flush()
  }
  const next = random(13)
  const seconds = await timed(async () => {
    for (let i = 0; i < count; i++) {
      const at = next(keys)
      const entry = await bee.get(key(at * 7919))
      if (entry.value.readUInt32LE(0) !== at) throw new Error('wrong value')
    }
  })
  await store.close()
  return { seconds, items: count, bytes: count * 100, version: 'hyperbee ' + version('hyperbee') }
}

async function driveImport() {
  const store = new Corestore(folder)
  const drive = new Hyperdrive(store)
  await drive.ready()
  const local = new Localdrive(source)
  let mirror
  const seconds = await timed(async () => {
    mirror = local.mirror(drive)
    await mirror.done()
  })
  const { files } = mirror.count
  await drive.close()
  return { seconds, items: files, bytes: mirror.bytesAdded, version: 'hyperdrive ' + version('hyperdrive') }
}

const workloads = {
  'append-100': () => append(100, 1),
  'append-64k': () => append(65536, 1),
  'append-100-batch': () => append(100, 1000),
  'append-64k-batch': () => append(65536, 64),
  'get-100': () => get(100),
  'get-64k': () => get(65536),
  'bee-put': () => beePut(1),
  'bee-put-batch': () => beePut(1000),
  'bee-get': () => beeGet(),
  'drive-import': () => driveImport()
}

workloads[workload]().then(
  (result) => {
    console.log(JSON.stringify(result))
    process.exit(0)
  },
  (err) => {
    console.error(err)
    process.exit(1)
  }
)
