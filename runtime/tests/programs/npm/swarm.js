// npm's hyperswarm on our sockets: two peers of a topic replicate a core.
const Hyperswarm = require('hyperswarm')
const createTestnet = require('hyperdht/testnet')
const Corestore = require('corestore')
const folder = Bare.argv[2]

async function main () {
  const testnet = await createTestnet(3)
  const bootstrap = testnet.bootstrap
  const topic = Buffer.alloc(32, 5)
  const [a, b] = [new Hyperswarm({ bootstrap }), new Hyperswarm({ bootstrap })]
  const [one, two] = [new Corestore(folder + '-a'), new Corestore(folder + '-b')]
  const core = one.get({ name: 'core' })
  await core.append(['x', 'y', 'z'])
  a.on('connection', (conn) => one.replicate(conn))
  b.on('connection', (conn) => two.replicate(conn))
  await a.join(topic, { server: true, client: false }).flushed()
  b.join(topic, { server: false, client: true })
  const copy = two.get({ key: core.key })
  console.log('got', (await copy.get(2)).toString(), copy.length)
  await core.append('later')
  console.log('got', (await copy.get(3)).toString())
  await a.destroy()
  await b.destroy()
  await one.close()
  await two.close()
  await testnet.destroy()
}

main().then(() => console.log('done'))
