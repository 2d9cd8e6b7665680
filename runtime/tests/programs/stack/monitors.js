// Monitors, batches of blobs, branches that are committed, marks, and the pool of a node.
const Corestore = require('corestore')
const Hyperblobs = require('hyperblobs')
const Hyperdrive = require('hyperdrive')
const Localdrive = require('localdrive')
const createTestnet = require('hyperdht/testnet')
const { once } = require('bare-events')

const [folder] = Bare.argv.slice(2)

main()

async function main () {
  const store = new Corestore(folder + '/a')

  const core = store.get({ name: 'core' })
  await core.append(['a', 'b', 'c', 'd'])
  const branch = core.session({ name: 'draft' })
  await branch.append(['e', 'f'])
  console.log('branch', core.length, branch.length, branch.signedLength)
  console.log('commit', await core.commit(branch, { length: 5 }), core.length)
  await core.append('other')
  console.log('too late', await core.commit(branch), core.length)
  await core.startMarking()
  await core.get(1)
  await core.markBlock(3, 5)
  await core.sweep()
  const here = []
  for (let at = 0; at < core.length; at++) here.push(await core.has(at))
  console.log('swept', here.join())

  const blobs = new Hyperblobs(store.get({ name: 'blobs' }), { blockSize: 4 })
  await blobs.ready()
  const batch = blobs.batch()
  const ids = [await batch.put(Buffer.from('hello world')), await batch.put(Buffer.from('!'))]
  console.log('batch', JSON.stringify(ids), String(await batch.get(ids[0])), blobs.core.length)
  const before = blobs.snapshot()
  await before.ready()
  await batch.flush()
  console.log('flushed', String(await blobs.get(ids[0])), String(await batch.get(ids[1])), before.core.length, blobs.locked)
  const writing = blobs.createWriteStream()
  writing.write(Buffer.from('more'))
  await until(() => blobs.locked)
  writing.end()
  await once(writing, 'close')
  console.log('free', blobs.locked)

  const drive = new Hyperdrive(store.namespace('drive'))
  await drive.put('/a', Buffer.alloc(200000, 'a'))
  await drive.put('/b', Buffer.alloc(10, 'b'))
  console.log('content key', Hyperdrive.getContentKey(drive.core).equals(drive.contentKey))

  const other = new Corestore(folder + '/b')
  const copy = new Hyperdrive(other, drive.key)
  await copy.ready()
  const [one, two] = [store.replicate(true), other.replicate(false)]
  for (const end of [one, two]) end.on('error', () => {})
  one.pipe(two).pipe(one)
  await copy.update({ wait: true })
  const file = copy.monitor('/a')
  await file.ready()
  const whole = drive.monitor()
  await whole.ready()
  let updates = 0
  file.on('update', () => updates++)
  const blob = (await copy.getBlobs()).monitor((await copy.entry('/b')).value.blob)
  await copy.get('/a')
  await copy.get('/b')
  await until(() => file.downloadStats.blocks === 4 && blob.downloadStats.blocks === 1)
  const { targetBlocks, targetBytes, monitoringBytes, percentage, peers } = file.downloadStats
  console.log('file', updates, targetBlocks, targetBytes, monitoringBytes, percentage, peers, file.downloadSpeed() > 0, file.uploadStats.blocks)
  console.log('blob', blob.downloadStats.percentage, blob.downloadStats.totalBytes, blob.peers)
  await until(() => whole.uploadStats.blocks >= 5)
  console.log('whole', whole.uploadStats.monitoringBytes > 200000, drive.monitors.size, copy.monitors.size)
  blob.close()
  await file.close()
  console.log('closed', copy.monitors.size)

  await drive.put('/c', Buffer.alloc(70000, 'c'))
  await until(() => copy.version === drive.version)
  const mirror = copy.mirror(new Localdrive(folder + '/local'))
  const monitor = mirror.monitor({ interval: 20 })
  let last = null
  monitor.on('update', (stats) => { last = stats })
  await mirror.done()
  console.log('mirror', JSON.stringify(mirror.count), monitor.destroyed, mirror.monitors.length, mirror.downloadProgress, last.peers, last.download.bytes >= 0)

  const testnet = await createTestnet(3)
  const [first, second] = testnet.nodes
  const incoming = first.pool()
  const server = first.createServer({ pool: incoming })
  await server.listen()
  const pool = second.pool()
  const conn = second.connect(server.publicKey, { pool })
  console.log('pool', pool.has(server.publicKey), pool.connecting, second.connect(server.publicKey, { pool }) === conn)
  const [[stream]] = await Promise.all([once(incoming, 'connection'), once(pool, 'connection')])
  console.log('open', pool.connecting, [...pool.connections].length, incoming.get(conn.publicKey) === stream)
  const closed = [conn, stream].map((one) => new Promise((resolve) => one.on('error', () => {}).on('close', resolve)))
  conn.destroy()
  await Promise.all(closed)
  console.log('gone', pool.has(server.publicKey), incoming.has(second.defaultKeyPair.publicKey))
  await testnet.destroy()

  one.destroy()
  await drive.close()
  await copy.close()
  await store.close()
  await other.close()
}


async function until (holds) {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}
