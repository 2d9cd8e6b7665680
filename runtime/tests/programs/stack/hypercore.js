// One core: what is written is there, also after it was closed and opened again.
const Hypercore = require('hypercore')

async function main () {
  const folder = Bare.argv[2]
  const core = new Hypercore(folder, { valueEncoding: 'json' })
  console.log(core.opened, core.key, core.length)
  await core.ready()
  console.log(core.opened, core.key.byteLength, core.id.length, core.length, core.writable)

  let appends = 0
  core.on('append', () => appends++)
  console.log(await core.append({ n: 1 }))
  console.log(await core.append([{ n: 2 }, { n: 3 }]))
  console.log(core.length, core.byteLength, core.contiguousLength, core.fork)
  console.log(await core.get(1), await core.has(2), await core.has(3))
  console.log(Buffer.isBuffer(await core.get(0, { valueEncoding: 'binary' })))
  console.log(await core.get(7, { wait: false }))
  try {
    await core.get(7, { timeout: 20 })
  } catch (error) {
    console.log(error.code)
  }
  console.log(await core.seek(7))

  const seen = []
  for await (const block of core.createReadStream({ start: 1 })) seen.push(block.n)
  console.log(seen)
  const backwards = []
  for await (const block of core.createReadStream({ reverse: true })) backwards.push(block.n)
  console.log(backwards)

  const snapshot = core.snapshot()
  await snapshot.ready()
  const session = core.session({ valueEncoding: 'utf-8' })
  await session.ready()
  await core.truncate(1)
  console.log(core.length, core.fork, snapshot.length, session.length, await snapshot.get(2), await session.get(0))

  await core.setUserData('who', 'ada')
  console.log((await core.getUserData('who')).toString(), await core.getUserData('what'))
  console.log((await core.treeHash()).byteLength, (await core.info()).length)

  await session.close()
  try {
    await session.append('late')
  } catch (error) {
    console.log(error.code)
  }
  const key = core.key
  await snapshot.close()
  await core.close()
  console.log(core.closed, appends > 0)

  const again = new Hypercore(folder, { valueEncoding: 'json' })
  await again.ready()
  console.log(again.key.equals(key), again.length, await again.get(0))
  await again.close()

  try {
    const missing = new Hypercore(folder + '-missing', { createIfMissing: false })
    await missing.ready()
  } catch (error) {
    console.log(typeof error.code)
  }
}

main()
