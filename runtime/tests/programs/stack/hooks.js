// What only JavaScript has: opening that is waited for by itself, options that come late, hooks.
const Hypercore = require('hypercore')
const Hyperblobs = require('hyperblobs')
const Localdrive = require('localdrive')
const { Transform } = require('streamx')

const [folder] = Bare.argv.slice(2)

main()

async function main () {
  const core = new Hypercore(folder + '/one')
  const told = []
  core.on('ready', () => told.push('ready'))
  core.on('close', () => told.push('close'))
  console.log('before', core.opened, core.key, core.length, core.writable)
  console.log('append', await core.append(['a', 'b']), core.opened, core.key.byteLength, core.contiguousByteLength)
  await core.ready()
  const seen = []
  const session = core.session({ onseq: (index, core) => seen.push(index, core === session) })
  await session.get(1)
  await session.get(0)
  console.log('onseq', seen.join())
  await session.close()
  await core.close()
  console.log('told', told.join())

  const late = new Hypercore(folder + '/two', { preload: Promise.resolve({ valueEncoding: 'json' }) })
  await late.append({ some: 'thing' })
  console.log('late', JSON.stringify(await late.get(0)))
  const joined = late.session({ valueEncoding: 'utf-8', encodeBatch: (batch) => [Buffer.from(batch.join('+'))] })
  await joined.append(['a', 'b'])
  console.log('encodeBatch', late.length, await joined.get(1))
  await joined.close()

  const blobs = new Hyperblobs(late)
  await blobs.ready()
  const snapshot = blobs.snapshot()
  await snapshot.ready()
  const blob = await blobs.put(Buffer.from('later'))
  console.log('blobs', blobs.key.equals(late.key), blobs.discoveryKey.equals(late.discoveryKey), blobs.feed === late, blobs.locked, snapshot.core.length, blob.blockOffset)
  await blobs.close()
  console.log('closed', late.closed)

  const metadata = new Map()
  const hooks = {
    get: (key) => metadata.get(key),
    put: (key, value) => { metadata.set(key, value) },
    del: (key) => { metadata.delete(key) }
  }
  const drive = new Localdrive(folder + '/local', { metadata: hooks })
  console.log('metadata', drive.supportsMetadata, new Localdrive(folder + '/local').supportsMetadata)
  await drive.put('/a', Buffer.from('a'), { metadata: { of: 'a' } })
  await drive.put('/b', Buffer.from('b'), { metadata: 'b' })
  console.log('entry', JSON.stringify((await drive.entry('/a')).value.metadata), metadata.size)
  await drive.put('/a', Buffer.from('a'))
  await drive.del('/b')
  console.log('gone', JSON.stringify((await drive.entry('/a')).value.metadata), metadata.size)
  await drive.put('/c', Buffer.from('c'))
  const other = new Localdrive(folder + '/other')
  const loud = (key) => key === '/c' ? null : new Transform({ transform (data, done) { done(null, Buffer.from(String(data).toUpperCase() + '!')) } })
  const seen2 = []
  const mirror = drive.mirror(other, { transformers: [loud], ignore: '/no' })
  for await (const { op, key, bytesAdded } of mirror) seen2.push(op, key, bytesAdded)
  console.log('transformed', seen2.join(), String(await other.get('/a')), String(await other.get('/c')), JSON.stringify(mirror.count), mirror.finished)
  await drive.ready()
  await drive.flush()
  console.log('itself', drive.batch() === drive, drive.checkout() === drive)
  await drive.close()
}
