// npm's autopass: one device invites another, and both see what either writes.
const Autopass = require('autopass')
const Corestore = require('corestore')
const createTestnet = require('hyperdht/testnet')
const folder = Bare.argv[2]

async function until (ask) {
  for (;;) {
    const found = await ask()
    if (found) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function main () {
  const { bootstrap, destroy, nodes } = await createTestnet(4)
  const phone = new Autopass(new Corestore(folder + '-phone'), { bootstrap })
  await phone.ready()
  await phone.add('before', 'the invitation')
  const invite = await phone.createInvite()
  console.log('invite', invite.length > 50)
  const pair = Autopass.pair(new Corestore(folder + '-laptop'), invite, { bootstrap })
  const laptop = await pair.finished()
  await laptop.ready()
  console.log('writable', laptop.base.writable)
  const value = async (pass, key) => {
    const found = await pass.get(key)
    return found && found.value
  }
  console.log('read', await until(() => value(laptop, 'before')))
  await laptop.add('after', 'from the laptop', Buffer.from('a file'))
  console.log('read', await until(() => value(phone, 'after')), (await phone.get('after')).file.toString())
  await phone.remove('before')
  await until(async () => (await laptop.get('before')) === null)
  const all = []
  for await (const { key, value } of laptop.list()) all.push(key + '=' + value)
  console.log('all', all.join())
  await laptop.close()
  await phone.close()
  if (destroy) await destroy.call({ nodes })
  else for (const node of nodes) await node.destroy()

  // What was written is there in the next run.
  const again = new Autopass(new Corestore(folder + '-laptop'), { replicate: false })
  await again.ready()
  console.log('again', await value(again, 'after'), again.base.writable)
  await again.close()
}

main().then(() => console.log('done'))
