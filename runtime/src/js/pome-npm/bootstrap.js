// Of npm's hyperdht: the nodes to begin with are those that a person names for programs, here as everywhere.

module.exports = function adapt (constants) {
  if (native.bootstrap !== null) constants.BOOTSTRAP_NODES.splice(0, Infinity, ...native.bootstrap)
  return constants
}
