// Swarms made of npm's hyperswarm, each with a corestore that replicates over every connection, which do what they are told: one line of JSON in, one line of
// JSON out, with the same `id`.
//
//   node swarm.js FOLDER
const path = require('path')
const readline = require('readline')
const b4a = require('b4a')
const Corestore = require('corestore')
const Hyperdrive = require('hyperdrive')
const HyperDHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')

const swarms = new Map()
let next = 0

const hex = (buffer) => (buffer ? b4a.toString(buffer, 'hex') : null)
const unhex = (text) => b4a.from(text, 'hex')
const say = (what) => console.log(JSON.stringify(what))
const parse = (text) => {
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
}

async function core(store, { name, key }) {
  const core = store.get(name ? { name } : { key: unhex(key) })
  await core.ready()
  return core
}

async function drive(one, { name, key }) {
  const id = name || key
  if (!one.drives.has(id)) {
    one.drives.set(id, name ? new Hyperdrive(one.store.namespace(name)) : new Hyperdrive(one.store, unhex(key)))
  }
  const drive = one.drives.get(id)
  await drive.ready()
  return drive
}

const until = async (ask) => {
  while (!(await ask())) await new Promise((resolve) => setTimeout(resolve, 20))
}

const commands = {
  async swarm({ bootstrap, seed, refuse = [], relay = null, quickFirewall = true, ...options }) {
    const number = ++next
    const dht = new HyperDHT({ bootstrap: bootstrap.map(parse), host: '127.0.0.1', quickFirewall })
    const swarm = new Hyperswarm({
      dht,
      seed: seed ? unhex(seed) : undefined,
      firewall: (key) => refuse.includes(hex(key)),
      relayThrough: relay ? () => unhex(relay) : undefined,
      ...options
    })
    const store = new Corestore(path.join(process.argv[2], String(number)))
    await store.ready()
    swarm.on('connection', (socket, info) => {
      const publicKey = hex(socket.remotePublicKey)
      say({ event: 'connection', swarm: number, publicKey, client: info.client, topics: info.topics.map(hex) })
      socket.on('error', () => {})
      socket.on('close', () => say({ event: 'closed', swarm: number, publicKey }))
      store.replicate(socket)
    })
    swarm.on('ban', (info) => say({ event: 'ban', swarm: number, publicKey: hex(info.publicKey) }))
    swarms.set(number, { swarm, store, drives: new Map() })
    return { swarm: number, publicKey: hex(swarm.keyPair.publicKey) }
  },
  async join({ swarm, topic, client = true, server = true, wait = true }) {
    const session = swarms.get(swarm).swarm.join(unhex(topic), { client, server })
    if (wait) await session.flushed()
    return {}
  },
  async leave({ swarm, topic }) {
    await swarms.get(swarm).swarm.leave(unhex(topic))
    return {}
  },
  async flush({ swarm }) {
    return { flushed: await swarms.get(swarm).swarm.flush() }
  },
  async listen({ swarm }) {
    await swarms.get(swarm).swarm.listen()
    return {}
  },
  async joinPeer({ swarm, publicKey }) {
    swarms.get(swarm).swarm.joinPeer(unhex(publicKey))
    return {}
  },
  async connections({ swarm }) {
    const all = [...swarms.get(swarm).swarm.connections]
    return { connections: all.map((socket) => [hex(socket.remotePublicKey), socket.isInitiator]).sort() }
  },
  async suspend({ swarm }) {
    await swarms.get(swarm).swarm.suspend()
    return {}
  },
  async resume({ swarm }) {
    await swarms.get(swarm).swarm.resume()
    return {}
  },
  async destroy({ swarm, force = false }) {
    const { swarm: one, store } = swarms.get(swarm)
    swarms.delete(swarm)
    await one.destroy({ force })
    if (force) await one.dht.destroy({ force })
    await store.close()
    return {}
  },
  async append({ swarm, name, blocks }) {
    const log = await core(swarms.get(swarm).store, { name })
    await log.append(blocks.map((block) => b4a.from(block)))
    return { key: hex(log.key), length: log.length }
  },
  async get({ swarm, key, index }) {
    const log = await core(swarms.get(swarm).store, { key })
    return { block: b4a.toString(await log.get(index)) }
  },
  async put({ swarm, name, files }) {
    const one = await drive(swarms.get(swarm), { name })
    for (const [file, content] of Object.entries(files)) await one.put(file, b4a.from(content))
    return { key: hex(one.key), version: one.version }
  },
  async read({ swarm, key, file, version }) {
    const one = await drive(swarms.get(swarm), { key })
    await until(async () => {
      await one.update()
      return one.version >= version
    })
    const content = await one.get(file)
    return { content: content && b4a.toString(content) }
  }
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, ...rest } = JSON.parse(line)
  try {
    say({ id, ...(await commands[command](rest)) })
  } catch (error) {
    say({ id, error: error.code || error.stack })
  }
})
process.stdin.on('end', () => process.exit(0))
