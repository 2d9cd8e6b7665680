// One of the writers of an autobase: `add KEY` lets another one write, `put TEXT` appends, `show` prints what all have written in the order that they agreed on.
import process from 'bare-process'
import Autobase from 'autobase'
import Corestore from 'corestore'
import Hyperswarm from 'hyperswarm'
import b4a from 'b4a'

const [folder, key] = Pear.config.args
const store = new Corestore(folder)
const base = new Autobase(store, key ? b4a.from(key, 'hex') : null, {
  valueEncoding: 'json',
  ackInterval: 100,
  open: (store) => store.get('view', { valueEncoding: 'json' }),
  async apply (nodes, view, host) {
    for (const { value } of nodes) {
      if (value.add) await host.addWriter(b4a.from(value.add, 'hex'), { indexer: true })
      else await view.append(value.text)
    }
  }
})
await base.ready()

const swarm = new Hyperswarm()
swarm.on('connection', (conn) => store.replicate(conn))
swarm.join(base.discoveryKey)
Pear.teardown(async () => {
  await swarm.destroy()
  await base.close()
  await store.close()
})

console.log('key', b4a.toString(base.key, 'hex'))
console.log('local', b4a.toString(base.local.key, 'hex'))

const tellWritable = () => {
  if (!base.writable) return
  base.off('update', tellWritable)
  console.log('writable')
}
base.on('update', tellWritable)
tellWritable()

async function obey (line) {
  const [word, rest] = line.split(' ')
  if (word === 'add') await base.append({ add: rest })
  else if (word === 'put') await base.append({ text: rest })
  else {
    await base.update()
    const all = []
    for (let i = 0; i < base.view.length; i++) all.push(await base.view.get(i))
    console.log('view', all.join())
  }
}

let typed = ''
let last = Promise.resolve()
process.stdin.on('data', (data) => {
  const lines = (typed + data).split('\n')
  typed = lines.pop()
  for (const line of lines) last = last.then(() => obey(line))
})
