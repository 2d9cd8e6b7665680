// Everybody under a topic hears what is typed.
import Hyperswarm from 'hyperswarm'
import crypto from 'hypercore-crypto'
import b4a from 'b4a'
import process from 'bare-process'

const swarm = new Hyperswarm()
Pear.teardown(() => swarm.destroy())

const others = []
swarm.on('connection', (conn) => {
  console.log('peer', b4a.toString(conn.remotePublicKey, 'hex').length)
  others.push(conn)
  conn.once('close', () => others.splice(others.indexOf(conn), 1))
  conn.on('data', (data) => console.log(`heard: ${data}`))
  conn.on('error', (error) => console.log(`error: ${error}`))
})

process.stdin.on('data', (line) => {
  for (const conn of others) conn.write(line)
})

const topic = process.argv[2] ? b4a.from(process.argv[2], 'hex') : crypto.randomBytes(32)
const session = swarm.join(topic, { client: true, server: true })
session.flushed().then(() => console.log('topic', b4a.toString(topic, 'hex')))
