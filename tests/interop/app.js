// What npm's modules find in an app that somebody else has staged, as one line of JSON.
//
//   node app.js BOOTSTRAP LINK FOLDER
const crypto = require('hypercore-crypto')
const Corestore = require('corestore')
const Hyperdrive = require('hyperdrive')
const Hyperswarm = require('hyperswarm')
const Localdrive = require('localdrive')
const plink = require('pear-link')
const { ALIASES } = require('pear-aliases')

const [bootstrap, link, folder] = process.argv.slice(2)
const hex = (buffer) => buffer.toString('hex')

async function main () {
  const { origin, pathname, drive: { key, length, fork, alias } } = plink.parse(link)
  const store = new Corestore(folder + '/store')
  const live = new Hyperdrive(store, key)
  await live.ready()
  const nodes = bootstrap.split(',').map((node) => ({ host: node.split(':')[0], port: Number(node.split(':')[1]) }))
  const swarm = new Hyperswarm({ bootstrap: nodes })
  swarm.on('connection', (connection) => store.replicate(connection))
  const found = live.findingPeers()
  swarm.join(live.discoveryKey, { server: false, client: true })
  swarm.flush().then(found, found)
  while (live.core.length < length) {
    await live.update()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const drive = live.checkout(length)
  const files = {}
  for await (const entry of drive.list('/')) {
    const content = entry.value.blob ? await drive.get(entry.key) : null
    const { executable, linkname, metadata } = entry.value
    files[entry.key] = { executable, linkname, metadata, content: content && hex(crypto.hash(content)) }
  }
  const records = {}
  for (const name of ['channel', 'manifest', 'release']) {
    const node = await live.db.get(name)
    records[name] = node && node.value
  }
  // As Pear's `dump` does it.
  for await (const _ of drive.mirror(new Localdrive(folder + '/out'))) continue
  const parsed = { origin, pathname, key: hex(key), length, fork, alias }
  const aliases = Object.fromEntries(Object.entries(ALIASES).map(([alias, key]) => [alias, hex(key)]))
  console.log(JSON.stringify({ parsed, fork: live.core.fork, files, records, blobs: (await live.getBlobs()).core.byteLength, aliases }))
  await swarm.destroy()
  await store.close()
}

main()
