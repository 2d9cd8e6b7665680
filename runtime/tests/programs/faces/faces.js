// Prints the face of each class of the stack: its methods and properties, those of its instances, what is static. Names that begin with `_` are nobody's
// business, and what an emitter has is not the stack's. The argument is a folder.
const Hypercore = require('hypercore')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperblobs = require('hyperblobs')
const Hyperdrive = require('hyperdrive')
const Localdrive = require('localdrive')
const MirrorDrive = require('mirror-drive')
const Hyperswarm = require('hyperswarm')
const HyperDHT = require('hyperdht')
const Protomux = require('protomux')
const SecretStream = require('@hyperswarm/secret-stream')
const { Duplex } = require('streamx')
const EventEmitter = typeof Bare === 'undefined' ? require('events') : require('bare-events')

const [folder] = (typeof Bare === 'undefined' ? process.argv : Bare.argv).slice(2)
const faces = {}

main()

async function main () {
  const core = new Hypercore(folder + '/core')
  await core.ready()
  const session = core.session()
  await session.ready()
  const store = new Corestore(folder + '/store')
  await store.ready()
  const bee = new Hyperbee(store.get({ name: 'bee' }))
  await bee.ready()
  const blobs = new Hyperblobs(store.get({ name: 'blobs' }))
  await blobs.ready()
  const drive = new Hyperdrive(store.namespace('drive'))
  await drive.ready()
  const local = new Localdrive(folder + '/local')
  const dht = new HyperDHT({ bootstrap: [], host: '127.0.0.1' })
  const server = dht.createServer()
  const swarm = new Hyperswarm({ dht })
  const topic = swarm.join(Buffer.alloc(32))
  const stream = new SecretStream(true)
  const mux = Protomux.from(new SecretStream(true))
  const channel = mux.createChannel({ protocol: 'faces' })

  note('hypercore', session, Hypercore)
  note('hypercore download', core.download({ start: 0, end: 0 }))
  note('hypercore extension', core.registerExtension('faces'))
  note('corestore', store, Corestore)
  note('hyperbee', bee, Hyperbee)
  note('hyperbee batch', bee.batch())
  note('hyperblobs', blobs, Hyperblobs)
  note('hyperdrive', drive, Hyperdrive)
  note('localdrive', local, Localdrive)
  note('mirror-drive', new MirrorDrive(local, drive), MirrorDrive)
  note('hyperdht', dht, HyperDHT)
  note('hyperdht server', server)
  note('hyperswarm', swarm, Hyperswarm)
  note('hyperswarm topic', topic)
  note('secret-stream', stream, SecretStream)
  note('protomux', mux, Protomux)
  note('protomux channel', channel)
  note('protomux message', channel.addMessage({}))

  console.log(JSON.stringify(faces))
  await swarm.destroy()
  await Promise.all([core.close(), session.close(), drive.close()])
  await store.close()
}

function note (name, instance, Class = null) {
  const names = new Set()
  for (const key of Object.keys(instance)) names.add(key)
  let proto = Object.getPrototypeOf(instance)
  for (; proto !== null && ![Object.prototype, EventEmitter.prototype, Duplex.prototype].includes(proto); proto = Object.getPrototypeOf(proto)) {
    for (const key of Object.getOwnPropertyNames(proto)) names.add(key)
  }
  if (Class !== null) for (const key of Object.getOwnPropertyNames(Class)) names.add('static ' + key)
  const left = ['constructor', 'domain', 'static length', 'static name', 'static prototype', 'static default', 'on', 'once', 'addListener']
  faces[name] = [...names].filter((name) => !left.includes(name) && !/^(static )?_/.test(name)).sort()
}
