// A drive, a folder, and mirrors between the two.
const Corestore = require('corestore')
const Hyperdrive = require('hyperdrive')
const Localdrive = require('localdrive')

async function main () {
  const folder = Bare.argv[2]
  const store = new Corestore(folder + '/store')
  const drive = new Hyperdrive(store)
  await drive.ready()
  console.log(drive.key.byteLength, drive.version, drive.writable, drive.core.key.equals(drive.key))

  await drive.put('/notes/today.txt', Buffer.from('plant the pip'), { metadata: { by: 'ada' } })
  await drive.put('/run.sh', '#!/bin/sh', { executable: true })
  await drive.symlink('/link', '/run.sh')
  console.log((await drive.get('/notes/today.txt')).toString(), await drive.get('/nowhere'))
  const entry = await drive.entry('/notes/today.txt')
  console.log(entry.seq, entry.key, entry.value.blob.byteLength, entry.value.metadata)
  console.log((await drive.entry('/link')).value.linkname, (await drive.entry('/link', { follow: true })).key)
  console.log(await drive.exists('/link'), await drive.has('/run.sh'))

  const keys = []
  for await (const { key } of drive.list('/')) keys.push(key)
  console.log(keys)
  const names = []
  for await (const name of drive.readdir('/')) names.push(name)
  console.log(names)

  const writing = drive.createWriteStream('/streamed.txt')
  writing.write('in ')
  writing.end('pieces')
  await new Promise((resolve, reject) => writing.on('close', resolve).on('error', reject))
  const pieces = []
  for await (const piece of drive.createReadStream('/streamed.txt', { start: 3 })) pieces.push(piece.toString())
  console.log(pieces.join(''))

  const before = drive.version
  await drive.del('/run.sh')
  const then = drive.checkout(before)
  console.log(await drive.exists('/run.sh'), await then.exists('/run.sh'))
  await then.close()

  const batch = drive.batch()
  await batch.put('/x', 'x')
  await batch.put('/y', 'y')
  console.log(await drive.exists('/x'))
  await batch.flush()
  console.log(await drive.exists('/x'))

  const local = new Localdrive(folder + '/out')
  const mirror = drive.mirror(local)
  await mirror.done()
  console.log(mirror.count)
  console.log((await local.get('/notes/today.txt')).toString())
  await local.put('/new.txt', 'from the folder')
  await local.del('/x')
  const back = local.mirror(drive)
  for await (const { op, key } of back) console.log(op, key)
  console.log(back.count, (await drive.entry('/notes/today.txt')).value.metadata)
  console.log((await drive.get('/new.txt')).toString(), await drive.exists('/x'))

  for await (const { op, key } of local.mirror(drive, { includeEquals: true })) console.log(op, key)

  const blobs = await drive.getBlobs()
  console.log(blobs.core.length > 0, drive.contentKey.equals(blobs.key))
  await drive.close()
  console.log(store.closed)
}

main()
