// Makes a core, a bee or a drive with the real npm modules, and writes it as a bundle, with what is in it.
//   node write.js KIND SEED OUT      KIND: core, core-encrypted, bee, drive, drive-encrypted, drive-blockmap
const fs = require('fs')
const os = require('os')
const path = require('path')
const crypto = require('crypto')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')
const hypercoreCrypto = require('hypercore-crypto')
const { hex, pack } = require('./bundle')

const [kind, seed, file] = process.argv.slice(2)

// Bytes and numbers from the seed alone.
let counter = 0
const bytes = (n) => {
  const key = crypto.createHash('sha256').update(`${seed}/${kind}/${counter++}`).digest()
  return crypto.createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(n))
}
const int = (max) => bytes(4).readUInt32LE(0) % max

async function main() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pome-write-'))
  const store = new Corestore(path.join(folder, 'a'), { primaryKey: bytes(32), unsafe: true })
  const clones = new Corestore(path.join(folder, 'b'))
  const out = { cores: [] }
  const encrypted = kind.endsWith('-encrypted')
  const encryptionKey = encrypted ? bytes(32) : null
  if (encrypted) out.encryptionKey = hex(encryptionKey)
  try {
    if (kind.startsWith('core')) {
      const core = store.get({ name: 'log', ...(encrypted ? { encryption: { key: encryptionKey } } : {}) })
      out.blocks = []
      for (let i = 0; i < 40; i++) {
        const batch = Array.from({ length: 1 + int(5) }, () => bytes(int(3) === 0 ? int(70000) : int(200)))
        await core.append(batch)
        out.blocks.push(...batch.map(hex))
      }
      out.cores.push(await pack(core, clones.get({ key: core.key })))
    }
    if (kind === 'bee') {
      const bee = new Hyperbee(store.get({ name: 'bee' }))
      await bee.ready()
      for (let i = 0; i < 400; i++) {
        const key = Buffer.from('k' + int(120))
        if (int(4) === 0) await bee.del(key)
        else if (int(5) === 0) {
          const batch = bee.batch()
          for (let j = int(12); j >= 0; j--) await batch.put(Buffer.from('k' + int(120)), bytes(int(60)))
          await batch.flush()
        } else await bee.put(key, bytes(int(60)))
      }
      out.version = bee.version
      out.entries = []
      for await (const e of bee.createReadStream()) out.entries.push({ seq: e.seq, key: hex(e.key), value: e.value && hex(e.value) })
      out.history = []
      for await (const e of bee.createHistoryStream()) out.history.push({ type: e.type, seq: e.seq, key: hex(e.key) })
      out.cores.push(await pack(bee.core, clones.get({ key: bee.core.key })))
    }
    if (kind.startsWith('drive')) {
      const drive = new Hyperdrive(store.namespace('drive'), encrypted ? { encryptionKey } : {})
      await drive.ready()
      for (let i = 0; i < 40; i++) {
        const name = `/d${int(4)}/ü ${int(15)}`
        const what = int(8)
        if (what === 0) await drive.del(name)
        else if (what === 1) await drive.symlink(name, '../d0/target')
        else if (kind === 'drive-blockmap') {
          const content = bytes(65536 * 3 + int(1000))
          const write = async (parts) => {
            const ws = drive.createWriteStream(name, { dedup: true })
            for (const part of parts) ws.write(part)
            ws.end()
            await new Promise((resolve, reject) => ws.on('close', resolve).on('error', reject))
          }
          const cut = (b) => [b.subarray(0, 65536), b.subarray(65536, 131072), b.subarray(131072)]
          await write(cut(content))
          bytes(1000).copy(content, 65536)
          await write(cut(content))
        } else await drive.put(name, bytes(int(4) === 0 ? int(300000) : int(3000)), { executable: int(3) === 0, metadata: int(4) === 0 ? { n: i } : null })
      }
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
          hash: content && hex(hypercoreCrypto.hash(content))
        })
      }
      const blobs = await drive.getBlobs()
      out.cores.push(await pack(drive.core, clones.get({ key: drive.core.key })))
      out.cores.push(await pack(blobs.core, clones.get({ key: blobs.core.key })))
    }
    fs.writeFileSync(file, JSON.stringify(out))
  } finally {
    await store.close()
    await clones.close()
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
