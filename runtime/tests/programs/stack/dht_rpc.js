// A store of values on nodes of dht-rpc, as the package's own documentation has it.
const DHT = require('dht-rpc')
const crypto = require('bare-crypto')
const dgram = require('bare-dgram')

const VALUES = 0
const HOST = '127.0.0.1'

function hash (value) {
  return crypto.createHash('sha256').update(value).digest()
}

function freePort () {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4')
    socket.bind(0, HOST, () => {
      const { port } = socket.address()
      socket.close(() => resolve(port))
    })
  })
}

async function main () {
  const port = await freePort()
  const bootstrap = DHT.bootstrapper(port, HOST, { host: HOST })
  await bootstrap.fullyBootstrapped()
  const all = [bootstrap]
  let stored = 0

  async function createNode () {
    const node = new DHT({ bootstrap: [`${HOST}:${port}`], host: HOST, ephemeral: false, firewalled: false })
    const values = new Map()
    node.on('request', (req) => {
      if (req.command !== VALUES) return req.error(17)
      if (req.token) {
        values.set(hash(req.value).toString('hex'), req.value)
        stored++
        return req.reply(null)
      }
      req.reply(values.get(req.target.toString('hex')))
    })
    all.push(node)
    await node.fullyBootstrapped()
    return node
  }
  for (let i = 0; i < 4; i++) await createNode()
  const [, first, second] = all
  console.log(first.bootstrapped, first.destroyed, first.address().host, first.address().port > 0)

  const value = Buffer.from('hello world')
  const put = first.query({ target: hash(value), command: VALUES, value }, { commit: true })
  await put.finished()
  console.log(stored > 0, put.closestReplies.length > 0, put.closestNodes[0].port > 0)

  let found = null
  for await (const reply of second.query({ target: hash(value), command: VALUES })) {
    if (reply.value !== null && reply.from.port > 0) {
      found = reply.value.toString()
      break
    }
  }
  console.log(found)

  const mapped = second.query({ target: hash(value), command: VALUES }, { map: (reply) => reply.error })
  const errors = []
  for await (const error of mapped) errors.push(error)
  console.log(errors.length > 0, errors.includes(DHT.OK))

  let asked = 0
  const own = first.query({ target: hash(value), command: VALUES }, {
    async commit (reply, dht, query) {
      asked++
      if (dht !== first || query !== own || reply.token === null) throw new Error('not as it should be')
      await dht.request({ token: reply.token, target: query.target, command: VALUES, value }, reply.from)
    }
  })
  await own.finished()
  console.log(asked === own.closestReplies.length)

  const to = { host: HOST, port: second.address().port }
  const reply = await first.ping(to)
  console.log(reply.from.port === to.port, reply.rtt >= 0, reply.error)
  console.log((await first.request({ target: hash(value), command: 5 }, to)).error)
  console.log((await first.request({ target: hash(value), command: 5 }, { host: HOST, port })).error === DHT.ERROR_UNKNOWN_COMMAND)
  const before = Date.now()
  await first.delayedPing(to, 50)
  console.log(Date.now() - before >= 50)
  const near = first.findNode(hash(value))
  await near.finished()
  console.log(near.closestNodes.length > 0, first.toArray({ limit: 1 }).length)
  await first.request({ command: 5 }, { host: HOST, port: 1 }, { retry: false }).catch((err) => console.log(err.code))

  await first.suspend()
  await first.ping(to).catch((err) => console.log(err.code))
  await first.resume()
  await Promise.all(all.map((node) => node.destroy()))
  console.log(first.destroyed)
}

main()
