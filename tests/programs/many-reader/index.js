// Reads the cores that the first block of a core names.
import Corestore from 'corestore'
import Hyperswarm from 'hyperswarm'
import b4a from 'b4a'

const store = new Corestore(Pear.config.storage)
await store.ready()
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const main = store.get({ key: b4a.from(Pear.config.args[0], 'hex'), valueEncoding: 'json' })
await main.ready()
swarm.join(main.discoveryKey)
await swarm.flush()
await main.update()

const { others } = await main.get(0)
others.forEach((key, number) => {
  const core = store.get({ key: b4a.from(key, 'hex') })
  core.on('append', () => {
    const seq = core.length - 1
    core.get(seq).then((block) => console.log(`core ${number} block ${seq}: ${block}`))
  })
})
console.log('listening')
