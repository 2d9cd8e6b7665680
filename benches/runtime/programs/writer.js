// Fills a core and serves it to who dials its key, on a network of its own. Prints how to reach it, and stays until it is killed.
const Corestore = require('corestore')
const createTestnet = require('hyperdht/testnet')

const [folder, count] = (typeof Bare === 'undefined' ? process.argv : Bare.argv).slice(2)

main()

async function main () {
  const store = new Corestore(folder)
  const core = store.get({ name: 'log' })
  await core.ready()
  while (core.length < count) await core.append(new Array(1000).fill(Buffer.alloc(100, 'block')))
  const testnet = await createTestnet(3)
  const server = testnet.nodes[2].createServer((conn) => {
    conn.on('error', () => {})
    store.replicate(conn)
  })
  await server.listen()
  const { host, port } = testnet.bootstrap[0]
  console.log(JSON.stringify({
    bootstrap: host + ':' + port,
    server: server.publicKey.toString('hex'),
    key: core.key.toString('hex')
  }))
}
