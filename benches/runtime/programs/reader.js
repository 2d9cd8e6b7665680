// Dials a writer and reads every block of its core, as it comes; prints the seconds from the call on.
const Corestore = require('corestore')
const DHT = require('hyperdht')

const [folder, bootstrap, server, key, count] = (typeof Bare === 'undefined' ? process.argv : Bare.argv).slice(2)

main()

async function main () {
  const store = new Corestore(folder)
  const core = store.get({ key: Buffer.from(key, 'hex') })
  await core.ready()
  const [host, port] = bootstrap.split(':')
  const dht = new DHT({ bootstrap: [{ host, port: Number(port) }] })
  await dht.ready()

  const start = Date.now()
  const conn = dht.connect(Buffer.from(server, 'hex'))
  conn.on('error', (error) => { throw error })
  store.replicate(conn)
  const whole = core.download({ start: 0, end: Number(count) })
  let bytes = 0
  for await (const block of core.createReadStream({ start: 0, end: Number(count) })) bytes += block.byteLength
  await whole.done()
  console.log(JSON.stringify({ seconds: (Date.now() - start) / 1000, bytes }))
  await dht.destroy()
  await store.close()
}
