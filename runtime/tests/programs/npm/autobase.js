// Two writers of an npm autobase converge over a swarm.
const Autobase = require('autobase')
const Hyperswarm = require('hyperswarm')
const createTestnet = require('hyperdht/testnet')
const Corestore = require('corestore')
const folder = Bare.argv[2]

const open = (store) => store.get('view', { valueEncoding: 'json' })

async function apply (nodes, view, host) {
  for (const { value } of nodes) {
    if (value.add) await host.addWriter(Buffer.from(value.add, 'hex'), { indexer: true })
    else await view.append(value)
  }
}

async function texts (base) {
  const all = []
  for (let i = 0; i < base.view.length; i++) all.push((await base.view.get(i)).text)
  return all
}

async function main () {
  const testnet = await createTestnet(3)
  const topic = Buffer.alloc(32, 6)
  const peer = async (name, key) => {
    const store = new Corestore(folder + '-' + name)
    const base = new Autobase(store, key, { open, apply, valueEncoding: 'json', ackInterval: 100 })
    await base.ready()
    const swarm = new Hyperswarm({ bootstrap: testnet.bootstrap })
    swarm.on('connection', (conn) => store.replicate(conn))
    return { store, base, swarm }
  }
  const a = await peer('a', null)
  const b = await peer('b', a.base.key)
  await a.swarm.join(topic, { server: true, client: false }).flushed()
  b.swarm.join(topic, { server: false, client: true })

  await a.base.append({ text: 'a 0' })
  await a.base.append({ add: b.base.local.key.toString('hex') })
  while (!b.base.writable) {
    await b.base.update()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  console.log('writable', b.base.writable)
  for (let i = 1; i < 4; i++) await Promise.all([a.base.append({ text: 'a ' + i }), b.base.append({ text: 'b ' + i })])
  let [left, right] = [[], []]
  while (left.length < 7 || left.join() !== right.join()) {
    await Promise.all([a.base.update(), b.base.update()])
    left = await texts(a.base)
    right = await texts(b.base)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  console.log('first', left[0], 'all', left.slice().sort().join(', '))
  console.log('same', left.join() === right.join())
  for (const { store, base, swarm } of [a, b]) {
    await swarm.destroy()
    await base.close()
    await store.close()
  }
  await testnet.destroy()
}

main().then(() => console.log('done'))
