// A copy of somebody's drive in a folder, which follows it.
import Hyperswarm from 'hyperswarm'
import Hyperdrive from 'hyperdrive'
import Localdrive from 'localdrive'
import Corestore from 'corestore'
import b4a from 'b4a'

const store = new Corestore(Pear.config.storage)
const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())
swarm.on('connection', (conn) => store.replicate(conn))

const local = new Localdrive(Pear.config.args[1])
const drive = new Hyperdrive(store, b4a.from(Pear.config.args[0], 'hex'))
await drive.ready()

let running = null
let again = false
drive.core.on('append', mirror)
const found = store.findingPeers()
swarm.join(drive.discoveryKey, { client: true, server: false })
swarm.flush().then(() => found())
mirror()

// One after the other.
async function mirror () {
  if (running !== null) {
    again = true
    return
  }
  running = drive.mirror(local)
  await running.done()
  console.log('mirrored', JSON.stringify(running.count))
  running = null
  if (again) {
    again = false
    mirror()
  }
}
