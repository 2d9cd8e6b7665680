// A sorted database in a core.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')

async function main () {
  const store = new Corestore(Bare.argv[2])
  const core = store.get({ name: 'bee' })
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
  await bee.ready()
  console.log(bee.version, bee.writable)

  await bee.put('b', 2)
  await bee.put('a', 1)
  const batch = bee.batch()
  await batch.put('c', 3)
  await batch.put('d', 4)
  console.log(await batch.get('c'), await bee.get('c'))
  await batch.flush()
  console.log(await bee.get('c'), await bee.get('nobody'))

  const all = []
  for await (const { key, value } of bee.createReadStream()) all.push(key + value)
  console.log(all)
  const some = []
  for await (const { key } of bee.createReadStream({ gt: 'a', lte: 'c' }, { reverse: true })) some.push(key)
  console.log(some)
  console.log((await bee.peek({ gte: 'b' })).key)

  const before = bee.snapshot()
  await bee.del('b')
  await bee.put('a', 10, { cas: (previous, next) => previous.value !== next.value })
  await bee.put('a', 10, { cas: (previous, next) => previous.value !== next.value })
  console.log(bee.version, await bee.get('b'), (await before.get('b')).value, (await bee.get('a')).value)
  try {
    await before.put('x', 1)
  } catch (error) {
    console.log(error.message)
  }

  const history = []
  for await (const { type, seq, key } of bee.createHistoryStream()) history.push(type + ' ' + seq + ' ' + key)
  console.log(history)
  const differences = []
  for await (const { left, right } of bee.createDiffStream(before.version)) differences.push([left && left.key, right && right.key])
  console.log(differences)

  const sub = bee.sub('people', { valueEncoding: 'utf-8' })
  await sub.put('ada', 'lovelace')
  console.log(await sub.get('ada'))
  for await (const entry of sub.createReadStream()) console.log(entry)
  for await (const entry of bee.createReadStream({ gte: 'p' }, { valueEncoding: 'utf-8' })) console.log(JSON.stringify(entry.key))

  // A watcher that waits keeps no program alive.
  const alive = setInterval(() => {}, 1000)
  const watcher = bee.watch({ gte: 'w' })
  await watcher.ready()
  const told = watcher.next()
  await bee.put('wanted', 1)
  const { value: [current, previous] } = await told
  console.log((await current.get('wanted')).value, await previous.get('wanted'))
  await watcher.close()
  clearInterval(alive)

  console.log((await bee.getHeader()).protocol, await Hyperbee.isHyperbee(core))
  await bee.close()
  console.log(core.closed)
  await store.close()
}

main()
