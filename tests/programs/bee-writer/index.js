// A dictionary in a bee, shared.
import fs from 'bare-fs/promises'
import Hyperswarm from 'hyperswarm'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import b4a from 'b4a'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const core = store.get({ name: 'words' })
const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
await core.ready()

if (core.length <= 1) {
  const words = JSON.parse(await fs.readFile(new URL('./words.json', import.meta.url)))
  const batch = bee.batch()
  for (const { key, value } of words) await batch.put(key, value)
  await batch.flush()
}
await swarm.join(core.discoveryKey).flushed()
console.log('key', b4a.toString(core.key, 'hex'))
