// Appends what is typed to a core that others may read.
import path from 'bare-path'
import process from 'bare-process'
import Hyperswarm from 'hyperswarm'
import Hypercore from 'hypercore'
import b4a from 'b4a'

const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())

const core = new Hypercore(path.join(Pear.config.storage, 'writer-storage'))
await core.ready()
console.log('key', b4a.toString(core.key, 'hex'))

process.stdin.on('data', (data) => core.append(data))

swarm.join(core.discoveryKey)
swarm.on('connection', (conn) => core.replicate(conn))
