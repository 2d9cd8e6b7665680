// The last block of somebody's bee, as it lies in the core.
import Hyperswarm from 'hyperswarm'
import Corestore from 'corestore'
import b4a from 'b4a'
import { Node } from 'hyperbee/lib/messages.js'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const core = store.get({ key: b4a.from(Pear.config.args[0], 'hex') })
await core.ready()
swarm.join(core.discoveryKey)
await swarm.flush()
await core.update()

const block = await core.get(core.length - 1)
const node = Node.decode(block)
console.log('block', core.length - 1, b4a.toString(node.key), b4a.toString(node.value))
Pear.exit()
