// Random histories of npm's hyperbee 2.27.3, above all what batches do: `node generate.js [seed] [count] > histories.json`
const Hypercore = require('hypercore')
const Hyperbee = require('hyperbee')
const fs = require('fs')
const os = require('os')
const path = require('path')

let state = Number(process.argv[2] || 1) >>> 0
function random (n) {
  state = (state + 0x6d2b79f5) >>> 0
  let t = Math.imul(state ^ (state >>> 15), state | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) % n
}
const pick = (list) => list[random(list.length)]

function makeOp (shape) {
  const n = shape.order === 'up' && random(3) ? shape.next++ : shape.order === 'down' && random(3) ? 999 - shape.next++ : random(shape.keys)
  const op = { op: random(10) < shape.deletes ? 'del' : 'put', key: random(99) ? String(n).padStart(3, '0') : '' }
  if (op.op === 'put') op.value = random(12) ? 'v' + random(shape.alwaysDuplicate ? 100 : 2) : pick([null, ''])
  if (random(12) === 0) op.cas = random(2) === 1
  return op
}

async function apply (to, op) {
  const opts = op.cas === undefined ? {} : { cas: () => op.cas }
  if (op.op === 'put') await to.put(op.key, op.value, opts)
  else await to.del(op.key, opts)
}

async function main () {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'histories-'))
  const histories = []
  for (let i = 0; i < Number(process.argv[3] || 40); i++) {
    const core = new Hypercore(path.join(folder, String(i)))
    const alwaysDuplicate = random(2) === 0
    const bee = new Hyperbee(core, { extension: false, keyEncoding: 'utf-8', valueEncoding: 'utf-8', alwaysDuplicate })
    await bee.ready()
    const shape = { alwaysDuplicate, keys: pick([6, 20, 60, 400]), order: pick(['up', 'down', 'any', 'any']), next: 0, deletes: pick([1, 3, 5, 6]) }
    const ops = []
    for (let n = pick([3, 8, 15]); n > 0; n--) {
      if (random(2)) {
        const op = makeOp(shape)
        await apply(bee, op)
        ops.push(op)
        continue
      }
      const batch = bee.batch()
      const op = { op: 'batch', ops: [] }
      for (let m = 1 + random(pick([3, 12, 40])); m > 0; m--) {
        const inner = makeOp(shape)
        await apply(batch, inner)
        op.ops.push(inner)
      }
      await batch.flush()
      ops.push(op)
    }
    const blocks = []
    for (let seq = 0; seq < core.length; seq++) blocks.push((await core.get(seq)).toString('hex'))
    histories.push(JSON.stringify({ alwaysDuplicate, ops, blocks }))
    await bee.close()
  }
  console.log('[\n' + histories.join(',\n') + '\n]')
  fs.rmSync(folder, { recursive: true })
}

main()
