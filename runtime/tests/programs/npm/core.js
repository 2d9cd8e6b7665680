// npm's hypercore and hyperbee, whole: what is written is there again when the store is opened anew.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const folder = Bare.argv[2]

async function all (stream) {
  const found = []
  for await (const one of stream) found.push(one)
  return found
}

async function main () {
  let store = new Corestore(folder)
  const log = store.get({ name: 'log' })
  await log.ready()
  const key = log.key
  await log.append('one')
  await log.append(['two', 'three', Buffer.alloc(5000, 'x')])
  console.log('length', log.length, 'bytes', log.byteLength, 'fork', log.fork, 'contiguous', log.contiguousLength)
  console.log((await log.get(1)).toString(), (await log.get(3)).byteLength, await log.has(2), await log.has(9))
  console.log('seek', await log.seek(7))
  await log.truncate(3)
  await log.append('four')
  await log.clear(1)
  console.log('length', log.length, 'fork', log.fork, 'has 1', await log.has(1), 'has 3', await log.has(3))
  await log.setUserData('name', Buffer.from('a log'))
  console.log('user data', (await log.getUserData('name')).toString())
  const session = log.session({ name: 'draft' })
  await session.ready()
  await session.append('a draft')
  console.log('draft', session.length, (await session.get(4)).toString(), 'log', log.length)

  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'json' })
  await bee.ready()
  await bee.put('a', { n: 1 })
  const batch = bee.batch()
  for (let i = 0; i < 50; i++) await batch.put('k' + String(i).padStart(2, '0'), i)
  await batch.flush()
  await bee.del('k07')
  const snapshot = bee.snapshot()
  await bee.put('a', { n: 2 })
  console.log('bee', (await bee.get('a')).value.n, (await snapshot.get('a')).value.n, await bee.get('k07'))
  console.log('range', (await all(bee.createReadStream({ gte: 'k05', lt: 'k09' }))).map(({ key }) => key).join(' '))
  await store.close()

  store = new Corestore(folder)
  const again = store.get({ key })
  await again.ready()
  console.log('again', again.length, again.byteLength, again.fork, again.writable, (await again.get(3)).toString())
  console.log('has', await again.has(0), await again.has(1), await again.has(3), (await again.getUserData('name')).toString())
  const draft = again.session({ name: 'draft' })
  await draft.ready()
  console.log('draft', draft.length, (await draft.get(4)).toString(), (await draft.get(0)).toString())
  await again.append('five')
  const once = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'json' })
  console.log('bee', (await once.get('a')).value.n, (await all(once.createReadStream())).length)
  await store.close()
}

main().then(() => console.log('done'))
