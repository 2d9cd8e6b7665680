// npm's hyperdrive, mirrored to a folder and back.
const Hyperdrive = require('hyperdrive')
const Localdrive = require('localdrive')
const Corestore = require('corestore')
const folder = Bare.argv[2]

async function names (drive) {
  const found = []
  for await (const entry of drive.list('/')) found.push(entry.key)
  return found.sort().join(' ')
}

async function main () {
  let store = new Corestore(folder)
  let drive = new Hyperdrive(store)
  await drive.ready()
  await drive.put('/a.txt', Buffer.from('a'))
  await drive.put('/sub/b.bin', Buffer.alloc(200000, 'b'), { executable: true })
  const version = drive.version
  await drive.put('/a.txt', Buffer.from('again'))
  await drive.symlink('/link', '/a.txt')
  console.log(await names(drive), (await drive.get('/a.txt')).toString(), (await drive.checkout(version).get('/a.txt')).toString())
  const entry = await drive.entry('/sub/b.bin')
  console.log(entry.value.executable, entry.value.blob.byteLength, (await drive.entry('/link')).value.linkname)
  const local = new Localdrive(folder + '-files')
  const mirror = drive.mirror(local)
  await mirror.done()
  console.log('mirrored', mirror.count.files, mirror.count.add, (await local.get('/a.txt')).toString())
  await local.put('/c.txt', Buffer.from('c'))
  await local.mirror(drive, { prefix: '/c.txt' }).done()
  await drive.del('/sub/b.bin')
  const key = drive.key
  await drive.close()
  await store.close()

  store = new Corestore(folder)
  drive = new Hyperdrive(store, key)
  await drive.ready()
  console.log(await names(drive), drive.writable)
  await store.close()
}

main().then(() => console.log('done'))
