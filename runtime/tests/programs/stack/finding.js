// Who looks for peers waits until they have said what they have, and only then knows that something is nowhere.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')

async function main () {
  const folder = Bare.argv[2]
  const store = new Corestore(folder + '/store')
  const copies = new Corestore(folder + '/copies')
  const options = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
  const bee = new Hyperbee(store.get({ name: 'words' }), options)
  await bee.put('pear', 'another pome')
  const core = copies.get({ key: bee.core.key })
  const copy = new Hyperbee(core, options)
  await core.ready()
  console.log(await copy.get('pear'))

  const found = copies.findingPeers()
  core.once('peer-add', () => found())
  const asked = ['pear', 'nobody'].map((word) => copy.get(word))
  const a = store.replicate(true)
  const b = copies.replicate(false)
  a.on('error', () => {})
  b.on('error', () => {})
  a.pipe(b).pipe(a)
  const [pear, nobody] = await Promise.all(asked)
  console.log(pear && pear.value, nobody)
  a.destroy()
  await copies.close()
  await store.close()
}

main()
