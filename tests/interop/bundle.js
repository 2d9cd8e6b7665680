// Cores in a file: for each its key, its lengths, and the proofs that carry every block, each as the `data` message of the wire.
const c = require('compact-encoding')
const { wire } = require('hypercore/lib/messages')

const hex = (b) => Buffer.from(b).toString('hex')
const unhex = (s) => Buffer.from(s, 'hex')

// Everything of `core` as messages. `clone` is an empty core with the same key: it says which nodes it still needs.
async function pack(core, clone) {
  await core.ready()
  await clone.ready()
  const messages = []
  const send = async (proof) => {
    const message = { request: 0, fork: core.fork, block: proof.block, hash: null, seek: null, upgrade: proof.upgrade, manifest: proof.manifest }
    messages.push(hex(c.encode(wire.data, message)))
    if ((await clone.applyProof(proof)) !== true) throw new Error('the clone refused a proof')
  }
  if (core.length > 0) {
    // A reader may ask for less than there is: what is signed comes all the same, in the additional nodes.
    const proof = await core.proof({ upgrade: { start: 0, length: Math.ceil(core.length / 3) } })
    proof.manifest = core.manifest
    await send(proof)
    for (let index = 0; index < core.length; index++) {
      if (!(await core.has(index))) continue
      await send(await core.proof({ block: { index, nodes: await clone.missingNodes(index) } }))
    }
  }
  return {
    key: hex(core.key),
    length: core.length,
    byteLength: core.byteLength,
    treeHash: hex(await core.treeHash()),
    messages
  }
}

// Fills a core of `store` with what a bundle says, checking every proof on the way.
async function unpack(store, packed) {
  const core = store.get({ key: unhex(packed.key) })
  await core.ready()
  for (const message of packed.messages) {
    const proof = c.decode(wire.data, unhex(message))
    if ((await core.applyProof(proof)) !== true) throw new Error('npm refused a proof of ' + packed.key)
  }
  if (core.length !== packed.length) throw new Error(`length ${core.length}, not ${packed.length}`)
  if (packed.length > 0 && hex(await core.treeHash()) !== packed.treeHash) throw new Error('the tree hashes differ')
  return core
}

module.exports = { hex, unhex, pack, unpack }
