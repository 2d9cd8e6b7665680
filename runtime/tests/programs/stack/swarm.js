// Peers of a topic on a network of this machine: plain messages, and channels beside a replication.
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const Protomux = require('protomux')
const Corestore = require('corestore')
const c = require('compact-encoding')
const createTestnet = require('hyperdht/testnet')

const once = (emitter, name) => new Promise((resolve) => emitter.once(name, (...told) => resolve(told)))

async function main () {
  const folder = Bare.argv[2]
  const testnet = await createTestnet(4)

  // by key
  const a = testnet.createNode()
  const b = testnet.createNode()
  const keyPair = DHT.keyPair()
  const server = a.createServer((conn) => {
    conn.on('data', (data) => conn.write('you said ' + data))
    conn.on('end', () => conn.end())
  })
  await server.listen(keyPair)
  const conn = b.connect(keyPair.publicKey)
  conn.write('hello')
  const [answer] = await once(conn, 'data')
  console.log(answer.toString(), conn.remotePublicKey.equals(keyPair.publicKey), conn.isInitiator)
  conn.end()
  await once(conn, 'close')
  await server.close()
  const nobody = b.connect(keyPair.publicKey)
  const [error] = await once(nobody, 'error')
  console.log(error.code)

  const { hash } = await a.immutablePut(Buffer.from('a value'))
  console.log((await b.immutableGet(hash)).value.toString())
  await a.mutablePut(keyPair, Buffer.from('first'), { seq: 1 })
  console.log((await b.mutableGet(keyPair.publicKey)).value.toString())

  // by topic
  const ours = new Hyperswarm({ dht: a })
  const theirs = new Hyperswarm({ dht: b })
  const topic = Buffer.alloc(32, 7)
  const store = new Corestore(folder + '/ours')
  const copy = new Corestore(folder + '/theirs')
  const core = store.get({ name: 'log' })
  await core.append('replicated')
  const wanted = copy.get({ key: core.key })

  const names = []
  let named
  const both = new Promise((resolve) => { named = resolve })
  const chat = (conn, onmessage) => {
    const mux = Protomux.from(conn)
    const channel = mux.createChannel({ protocol: 'chat', handshake: c.string, onopen: (name) => names.push(name) === 2 && named() })
    const message = channel.addMessage({ encoding: c.string, onmessage })
    channel.open('a name')
    return message
  }
  const heard = new Promise((resolve) => {
    ours.on('connection', (conn, info) => {
      store.replicate(conn)
      // The peer is not heard in the middle of this.
      for (const until = Date.now() + 50; Date.now() < until;);
      chat(conn, (text) => resolve(text))
    })
    theirs.on('connection', (conn) => {
      copy.replicate(conn)
      chat(conn, () => {}).send('over a channel')
    })
  })
  try {
    ours.join(Buffer.from('too short'))
  } catch (error) {
    console.log(error.code)
  }
  await ours.join(topic, { client: false, server: true }).flushed()
  theirs.join(topic, { client: true, server: false })
  await theirs.flush()
  console.log(await heard)
  await both
  console.log(names)
  console.log((await wanted.get(0)).toString(), theirs.connections.size, ours.peers.size)
  await theirs.destroy()
  await ours.destroy()
  await store.close()
  await copy.close()
  await testnet.destroy()
  console.log('over')
}

main()
