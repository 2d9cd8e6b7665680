// Prints what is appended to somebody's core from now on.
import path from 'bare-path'
import Hyperswarm from 'hyperswarm'
import Hypercore from 'hypercore'

const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())

const core = new Hypercore(path.join(Pear.config.storage, 'reader-storage'), Pear.config.args[0])
await core.ready()

const found = core.findingPeers()
swarm.join(core.discoveryKey)
swarm.on('connection', (conn) => core.replicate(conn))
swarm.flush().then(() => found())

await core.update()

let at = core.length
console.log('length', core.length)
for await (const block of core.createReadStream({ start: core.length, live: true })) {
  console.log(`block ${at++}: ${block}`)
}
