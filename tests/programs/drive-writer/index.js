// A folder that others may have, too: each line that is typed brings it up to date.
import Hyperswarm from 'hyperswarm'
import Hyperdrive from 'hyperdrive'
import Localdrive from 'localdrive'
import Corestore from 'corestore'
import b4a from 'b4a'
import process from 'bare-process'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const local = new Localdrive(Pear.config.args[0])
const drive = new Hyperdrive(store)
await drive.ready()
await swarm.join(drive.discoveryKey).flushed()
console.log('key', b4a.toString(drive.key, 'hex'))

process.stdin.setEncoding('utf-8')
process.stdin.on('data', (line) => {
  if (line.match('\n')) mirror()
})

async function mirror () {
  const mirror = local.mirror(drive)
  await mirror.done()
  console.log('mirrored', JSON.stringify(mirror.count))
}
