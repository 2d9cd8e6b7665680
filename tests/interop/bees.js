// A hyperbee of npm's that replicates over secret-stream over TCP, and counts what its cache extension hears. Does what lines of JSON on stdin say.
//
//   node bees.js FOLDER      prints {"port"}
const net = require('net')
const readline = require('readline')
const b4a = require('b4a')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const SecretStream = require('@hyperswarm/secret-stream')

const say = (what) => console.log(JSON.stringify(what))
const store = new Corestore(process.argv[2])
const counts = { cache: 0, blocks: 0, get: 0, iterator: 0 }
let bee = null

const server = net.createServer((socket) => {
  socket.setNoDelay(true)
  const stream = new SecretStream(false, socket)
  stream.on('error', () => {})
  store.replicate(stream)
})
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))

function count(name, also) {
  const { extension } = bee
  const original = extension[name].bind(extension)
  extension[name] = (message, from) => {
    counts[name.slice(2)]++
    if (also) also(message)
    return original(message, from)
  }
}

async function open(core) {
  bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  count('oncache', (message) => (counts.blocks += message.blocks.length))
  count('onget')
  count('oniterator')
  return { key: b4a.toString(bee.key, 'hex') }
}

const name = (n) => 'key ' + String(n).padStart(5, '0')

const commands = {
  async create({ keys }) {
    const answer = await open(store.get({ name: 'bee' }))
    const batch = bee.batch()
    for (let n = 0; n < keys; n++) await batch.put(name(n), 'value ' + n)
    await batch.flush()
    return answer
  },
  async open({ key }) {
    return open(store.get({ key: b4a.from(key, 'hex') }))
  },
  async get({ n }) {
    await bee.update({ wait: true })
    const entry = await bee.get(name(n), { timeout: 600000 })
    return { value: entry && entry.value }
  },
  async range({ from, to }) {
    const keys = []
    for await (const entry of bee.createReadStream({ gte: name(from), lt: name(to) })) keys.push(entry.key)
    return { keys }
  },
  async counts() {
    return counts
  }
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { cmd, ...rest } = JSON.parse(line)
  try {
    say(await commands[cmd](rest))
  } catch (error) {
    say({ error: error.stack })
  }
})
