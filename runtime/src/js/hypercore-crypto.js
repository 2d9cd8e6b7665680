// hypercore-crypto 3.7: the hashes and signatures of Hypercore.

const { namespace, ...rest } = native

Object.assign(exports, rest)

exports.namespace = function (name, count) {
  const ids = typeof count === 'number' ? Array.from({ length: count }, (_, i) => i) : count
  return namespace(name, ids)
}

// Secrets are ordinary Buffers here: there is nothing to free.
exports.free = function free() {}
