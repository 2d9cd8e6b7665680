// The entries of somebody's drive, read as the bee that they are in.
import Hyperswarm from 'hyperswarm'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import b4a from 'b4a'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const core = store.get({ key: b4a.from(Pear.config.args[0], 'hex') })
const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
await core.ready()
const found = store.findingPeers()
swarm.join(core.discoveryKey)
swarm.flush().then(() => found())
await core.update()

for await (const { key, value } of bee.createReadStream()) {
  console.log('entry', JSON.stringify(key), value.blob.byteLength)
}
console.log('end')
