// Reads a bundle that pome wrote with the real npm modules, and prints what they see, as JSON.
//   node read.js BUNDLE KIND     KIND: core, bee, drive
const fs = require('fs')
const os = require('os')
const path = require('path')
const crypto = require('hypercore-crypto')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')
const { hex, unhex, unpack } = require('./bundle')

async function main() {
  const [file, kind] = process.argv.slice(2)
  const bundle = JSON.parse(fs.readFileSync(file, 'utf8'))
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pome-read-'))
  const store = new Corestore(folder)
  try {
    const cores = []
    for (const packed of bundle.cores) cores.push(await unpack(store, packed))
    const [first] = cores
    const encryptionKey = bundle.encryptionKey ? unhex(bundle.encryptionKey) : null
    const out = { length: first.length, fork: first.fork }
    if (kind === 'core') {
      const core = encryptionKey ? store.get({ key: first.key, encryption: { key: encryptionKey } }) : first
      await core.ready()
      out.byteLength = core.byteLength
      out.blocks = []
      for (let i = 0; i < core.length; i++) out.blocks.push(hex(await core.get(i)))
    }
    if (kind === 'bee') {
      const bee = new Hyperbee(encryptionKey ? store.get({ key: first.key, encryption: { key: encryptionKey } }) : first)
      await bee.ready()
      out.version = bee.version
      out.entries = []
      for await (const e of bee.createReadStream()) out.entries.push({ seq: e.seq, key: hex(e.key), value: e.value && hex(e.value) })
      out.history = []
      for await (const e of bee.createHistoryStream()) out.history.push({ type: e.type, seq: e.seq, key: hex(e.key) })
    }
    if (kind === 'drive') {
      const drive = new Hyperdrive(store, first.key, encryptionKey ? { encryptionKey } : {})
      await drive.ready()
      out.version = drive.version
      out.files = []
      for await (const entry of drive.list('/')) {
        const content = entry.value.blob ? await drive.get(entry.key) : null
        out.files.push({
          path: entry.key,
          seq: entry.seq,
          executable: entry.value.executable,
          linkname: entry.value.linkname,
          metadata: entry.value.metadata,
          byteLength: content && content.byteLength,
          hash: content && hex(crypto.hash(content))
        })
      }
    }
    await new Promise((resolve) => process.stdout.write(JSON.stringify(out) + '\n', resolve))
  } finally {
    await store.close()
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

main().then(
  () => process.exit(0),
  (err) => {
    console.error(err)
    process.exit(1)
  }
)
