// What is called without waiting happens in the order of the calls; and timers fire although a program only waits for what is there.
const Hypercore = require('hypercore')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')

const [folder] = Bare.argv.slice(2)
const ROUNDS = 20

main()

async function main () {
  const core = new Hypercore(folder + '/core')
  core.append('before it is open')
  await core.append('and this')
  console.log(String(await core.get(0)), core.length)

  let wrong = 0
  for (let round = 0; round < ROUNDS; round++) {
    const from = core.length
    const appended = await all(100, (at) => core.append('block ' + at))
    for (let at = 0; at < 100; at++) {
      if (appended[at].length !== from + at + 1 || String(await core.get(from + at)) !== 'block ' + at) wrong++
    }
  }
  console.log('appends', wrong)

  // Between two lines nothing changes, however long the first one takes.
  const before = 2 + ROUNDS * 100
  const appending = core.append('meanwhile')
  for (const until = Date.now() + 50; Date.now() < until;);
  const meanwhile = core.length - before
  await appending
  console.log('meanwhile', meanwhile, 'then', core.length - before)

  const store = new Corestore(folder + '/store')
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  wrong = 0
  for (let round = 0; round < ROUNDS; round++) {
    await all(100, (at) => at === 50 ? bee.del('same') : bee.put('same', 'value ' + at))
    if ((await bee.get('same')).value !== 'value 99') wrong++
    const batch = bee.batch()
    await all(100, (at) => batch.put('key ' + at, 'value ' + round))
    await batch.flush()
    for (let at = 1; at < 100; at++) {
      if ((await bee.get('key ' + at)).seq !== (await bee.get('key ' + (at - 1))).seq + 1) wrong++
    }
  }
  console.log('puts', wrong)

  const drive = new Hyperdrive(store)
  wrong = 0
  for (let round = 0; round < ROUNDS; round++) {
    await all(20, (at) => drive.put('/same', Buffer.from('content ' + at)))
    if (String(await drive.get('/same')) !== 'content 19') wrong++
  }
  console.log('files', wrong)

  let fired = false
  setTimeout(() => { fired = true }, 1)
  let gets = 0
  while (!fired) {
    await core.get(gets++ % core.length)
    if (gets > 1e6) break
  }
  console.log('timer', fired)
  await core.close()
  await drive.close()
}

function all (count, start) {
  return Promise.all(Array.from({ length: count }, (_, at) => start(at)))
}
