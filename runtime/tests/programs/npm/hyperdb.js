// npm's hyperdb: its builder writes a definition, and both of its engines find by it.
const Hyperschema = require('hyperschema')
const Builder = require('hyperdb/builder')
const HyperDB = require('hyperdb')
const Corestore = require('corestore')
const fs = require('bare-fs')
const folder = Bare.argv[2]

function define () {
  const [schemas, dbs] = [folder + '-spec/schema', folder + '-spec/db']
  fs.mkdirSync(folder + '-spec', { recursive: true })
  fs.writeFileSync(folder + '-spec/helpers.js', 'exports.lower = (record) => [record.name.toLowerCase()]\n')
  const schema = Hyperschema.from(schemas)
  schema.namespace('club').register({
    name: 'member',
    fields: [{ name: 'name', type: 'string', required: true }, { name: 'age', type: 'uint', required: true }]
  })
  Hyperschema.toDisk(schema)
  const db = Builder.from(schemas, dbs)
  const club = db.namespace('club')
  club.require(folder + '-spec/helpers.js')
  club.collections.register({ name: 'members', schema: '@club/member', key: ['name'] })
  club.indexes.register({ name: 'by-age', collection: '@club/members', key: ['age'] })
  club.indexes.register({ name: 'by-lower', collection: '@club/members', unique: true, key: { type: 'string', map: 'lower' } })
  Builder.toDisk(db)
  return require(dbs)
}

async function names (query) {
  return (await query.toArray()).map((member) => member.name).join()
}

async function use (db) {
  for (const [name, age] of [['Ada', 36], ['Grace', 85], ['Alan', 41]]) await db.insert('@club/members', { name, age })
  await db.flush()
  console.log('get', (await db.get('@club/members', { name: 'Grace' })).age, await db.get('@club/members', { name: 'nobody' }))
  console.log('older', await names(db.find('@club/by-age', { gt: { age: 36 } })))
  console.log('lower', (await db.findOne('@club/by-lower', { gte: 'al', lte: 'am' })).name)
  const before = db.snapshot()
  const change = db.transaction()
  await change.delete('@club/members', { name: 'Ada' })
  await change.flush()
  console.log('now', await names(db.find('@club/members')), 'before', await names(before.find('@club/members')))
  await before.close()
}

async function main () {
  const definition = define()
  const open = () => HyperDB.rocks(folder + '-rocks', definition)
  let db = open()
  await use(db)
  await db.close()
  db = open()
  console.log('again', await names(db.find('@club/members', { reverse: true })))
  await db.close()

  const store = new Corestore(folder + '-cores')
  const core = store.get({ name: 'db' })
  const bee = HyperDB.bee(core, definition, { autoUpdate: true })
  await bee.ready()
  await use(bee)
  console.log('blocks', core.length)
  await bee.close()
  await store.close()
}

main().then(() => console.log('done'))
