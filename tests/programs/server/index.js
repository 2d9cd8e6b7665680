// Who dials its key is joined to the terminal.
import DHT from 'hyperdht'
import b4a from 'b4a'
import process from 'bare-process'

const dht = new DHT()
const identity = DHT.keyPair()

const server = dht.createServer((conn) => {
  console.log('somebody is here')
  process.stdin.pipe(conn).pipe(process.stdout)
})

server.listen(identity).then(() => console.log('key', b4a.toString(identity.publicKey, 'hex')))

Pear.teardown(() => server.close())
