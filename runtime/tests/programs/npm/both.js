// Writes a store and tells what is in it, with whichever Hypercore the program gets.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const [, , folder, mode] = Bare.argv

async function main () {
  const store = new Corestore(folder, { primaryKey: Buffer.alloc(32, 7), unsafe: true })
  const log = store.get({ name: 'log' })
  const other = store.namespace('other').get({ name: 'log' })
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await Promise.all([log.ready(), other.ready(), bee.ready()])
  if (mode === 'write') {
    for (let i = 0; i < 70; i++) await log.append('block ' + log.length)
    await log.truncate(log.length - 3)
    await log.append(Buffer.alloc(3000, 'l'))
    await log.clear(2, 5)
    await log.setUserData('who', Buffer.from('somebody'))
    await other.append(['x', 'y'])
    for (let i = 0; i < 30; i++) await bee.put('key ' + i, 'value ' + i)
  }
  if (mode === 'more') {
    await log.append('more')
    await bee.put('key 3', 'new')
  }
  console.log(log.key.toString('hex'), log.length, log.byteLength, log.fork, log.contiguousLength, log.writable)
  console.log((await log.treeHash()).toString('hex'))
  const has = []
  for (let i = 0; i < log.length; i++) if (!(await log.has(i))) has.push(i)
  console.log('missing', has.join(' '), 'last', (await log.get(log.length - 1)).byteLength)
  console.log(other.key.toString('hex'), other.length, (await other.get(1)).toString())
  console.log((await log.getUserData('who')).toString())
  const found = []
  for await (const { key, value } of bee.createReadStream()) found.push(key + '=' + value)
  console.log(bee.core.length, found.join(' '))
  await store.close()
}

main().then(() => console.log('done'))
