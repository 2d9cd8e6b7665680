// Appends, puts and gets in a store of its own; prints how many of each a second.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')

const [folder, scale] = argv()
const BLOCK = Buffer.alloc(100, 'block')

main()

async function main () {
  const store = new Corestore(folder)
  const core = store.get({ name: 'log' })
  await core.ready()
  const rates = {}

  rates.append = await rate(2000 / scale, () => core.append(BLOCK))
  const batch = new Array(1000).fill(BLOCK)
  rates['append-batch'] = 1000 * await rate(100 / scale, () => core.append(batch))
  rates['core-get'] = await rate(20000 / scale, (at) => core.get(at * 7919 % core.length))

  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  rates['bee-put'] = await rate(2000 / scale, (at) => bee.put(key(at), 'value ' + at))
  const many = 20000 / scale
  const start = Date.now()
  const all = bee.batch()
  for (let at = 0; at < many; at++) await all.put(key(at), 'value ' + at)
  await all.flush()
  rates['bee-batch'] = many / since(start)
  rates['bee-get'] = await rate(10000 / scale, (at) => bee.get(key(at * 7919 % many)))
  const scan = Date.now()
  let entries = 0
  for await (const entry of bee.createReadStream()) entries += entry.value.length > 0 ? 1 : 0
  rates['bee-scan'] = entries / since(scan)

  console.log(JSON.stringify(rates))
  await store.close()
}

function key (at) {
  return 'key ' + String(at * 2654435761 % 1e9).padStart(9, '0')
}

// How many a second, one after the other.
async function rate (count, run) {
  const start = Date.now()
  for (let at = 0; at < count; at++) await run(at)
  return count / since(start)
}

function since (start) {
  return Math.max(1, Date.now() - start) / 1000
}

function argv () {
  return (typeof Bare === 'undefined' ? process.argv : Bare.argv).slice(2).map((word) => isNaN(word) ? word : Number(word))
}
