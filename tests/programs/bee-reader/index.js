// Looks words up in somebody's bee.
import Hyperswarm from 'hyperswarm'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import Pipe from 'bare-pipe'
import b4a from 'b4a'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const core = store.get({ key: b4a.from(Pear.config.args[0], 'hex') })
const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
await core.ready()
const found = store.findingPeers()
swarm.join(core.discoveryKey)
swarm.flush().then(() => found())

const stdin = new Pipe(0)
stdin.on('data', (data) => {
  for (const word of data.toString().trim().split('\n')) {
    bee.get(word).then((node) => console.log(node && node.value ? `${word} -> ${node.value}` : `no ${word}`), console.error)
  }
})
