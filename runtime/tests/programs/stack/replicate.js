// A writer and a reader in one program, joined by streams; then a core of a store, by name and by key.
const Corestore = require('corestore')
const Hypercore = require('hypercore')

async function main () {
  const folder = Bare.argv[2]
  const writer = new Hypercore(folder + '/writer')
  await writer.append(['one', 'two', 'three'])
  const reader = new Hypercore(folder + '/reader', writer.key)
  await reader.ready()
  console.log(reader.length, reader.writable)

  const a = writer.replicate(true)
  const b = reader.replicate(false)
  a.on('error', () => {})
  b.on('error', () => {})
  a.pipe(b).pipe(a)
  const added = new Promise((resolve) => reader.once('peer-add', resolve))
  console.log((await reader.get(1)).toString())
  await added
  console.log(reader.length, reader.peers.length, reader.peers[0].remoteLength)
  const download = reader.download({ start: 0, end: 3 })
  console.log(await download.done(), reader.contiguousLength)

  // What is appended later comes, too.
  const live = reader.createReadStream({ live: true, start: 3 })
  const next = new Promise((resolve) => live.once('data', resolve))
  await writer.append('four')
  console.log((await next).toString())
  live.destroy()

  const heard = new Promise((resolve) => {
    const onmessage = (message) => resolve(console.log('reader got', message))
    const extension = reader.registerExtension('greeting', { encoding: 'utf-8', onmessage })
    const other = writer.registerExtension('greeting', {
      encoding: 'utf-8',
      onmessage (message, peer) {
        console.log('writer got', message)
        other.send('and you', peer)
      }
    })
    extension.broadcast('how are you')
  })
  await heard

  a.destroy()
  await writer.close()
  await reader.close()

  const store = new Corestore(folder + '/store')
  const log = store.get({ name: 'log', valueEncoding: 'utf-8' })
  const other = store.namespace('app').get({ name: 'log' })
  await Promise.all([log.ready(), other.ready()])
  console.log(log.key.equals(other.key), log.writable)
  await log.append('from a store')
  const keys = []
  for await (const key of store.list()) keys.push(key)
  console.log(keys.length, keys.some((key) => key.equals(log.discoveryKey)))
  const pair = await store.createKeyPair('log')
  console.log(pair.publicKey.equals(log.keyPair.publicKey))

  const clone = new Corestore(folder + '/clone')
  const copy = clone.get({ key: log.key, valueEncoding: 'utf-8' })
  await copy.ready()
  const s = store.replicate(true)
  const c = clone.replicate(false)
  s.on('error', () => {})
  c.on('error', () => {})
  s.pipe(c).pipe(s)
  console.log(await copy.get(0))
  await copy.close()
  await clone.close()
  await store.close()
  try {
    store.get({ name: 'late' })
  } catch (error) {
    console.log(error.message)
  }
}

main()
