// What a program changes itself it is told of, also when it has nothing else to do.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')

async function bees (store) {
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  const all = bee.watch()
  const some = bee.watch({ gte: 'b', lt: 'c' })
  await Promise.all([all.ready(), some.ready()])
  some.next().then(() => console.log('never: nothing between b and c'))
  all.next().then(async ({ value: [current, previous] }) => {
    await Promise.all([current.ready(), previous.ready()])
    console.log('bee', await previous.get('a'), (await current.get('a')).value)
    const batch = bee.batch()
    await batch.put('x', '1')
    await batch.put('y', '2')
    all.next().then(async ({ value: [current] }) => console.log('bee again', (await current.get('y')).value))
    await batch.flush()
  })
  await bee.put('a', '1')
}

async function drives (store) {
  const drive = new Hyperdrive(store)
  await drive.ready()
  const watcher = drive.watch('/a')
  await watcher.ready()
  watcher.next().then(async ({ value: [current, previous] }) => {
    console.log('drive', await previous.exists('/a/1'), await current.exists('/a/1'))
    watcher.next().then(async ({ value: [current] }) => console.log('drive again', await current.exists('/a/1')))
    await drive.put('/b/2', 'two')
    await drive.del('/a/1')
  })
  await drive.put('/a/1', 'one')
}

async function main () {
  const store = new Corestore(Bare.argv[2])
  await bees(store.namespace('bees'))
  Bare.once('beforeExit', () => {
    console.log('nothing is left of the bee')
    drives(store.namespace('drives'))
    Bare.once('beforeExit', () => console.log('nothing is left of the drive'))
  })
}

main()
