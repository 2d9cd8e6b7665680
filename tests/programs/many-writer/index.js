// Three cores of a store; the keys of two are in the first block of the first.
import Hyperswarm from 'hyperswarm'
import Corestore from 'corestore'
import b4a from 'b4a'
import process from 'bare-process'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())

const main = store.get({ name: 'main', valueEncoding: 'json' })
const short = store.get({ name: 'short' })
const long = store.get({ name: 'long' })
await Promise.all([main.ready(), short.ready(), long.ready()])

swarm.join(main.discoveryKey)
swarm.on('connection', (conn) => store.replicate(conn))

if (main.length === 0) await main.append({ others: [short, long].map((core) => b4a.toString(core.key, 'hex')) })
console.log('key', b4a.toString(main.key, 'hex'))

process.stdin.on('data', (data) => (data.length < 5 ? short : long).append(data))
