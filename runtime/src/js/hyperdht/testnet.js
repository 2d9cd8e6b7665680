// Some nodes on this machine that know of each other, as hyperdht/testnet has them.

const DHT = require('hyperdht')

module.exports = async function createTestnet (size = 10, options = {}) {
  const { host = '127.0.0.1', port = 0 } = options
  const nodes = []
  if (size > 0) nodes.push(new DHT({ host, port, bootstrap: options.bootstrap || [], ephemeral: false, firewalled: false, anyPort: false, bootstrapper: !options.bootstrap }))
  if (nodes.length > 0) await nodes[0].ready()
  const bootstrap = options.bootstrap || nodes.map((node) => ({ host, port: node.address().port }))
  const rest = []
  while (nodes.length < size) {
    const node = new DHT({ host, bootstrap, ephemeral: false, firewalled: false })
    nodes.push(node)
    rest.push(node.ready())
  }
  await Promise.all(rest)
  const testnet = {
    nodes,
    bootstrap,
    createNode: (more = {}) => {
      const node = new DHT({ host, bootstrap, ephemeral: true, ...more })
      nodes.push(node)
      return node
    },
    destroy: async () => {
      for (const node of nodes) {
        for (const server of node.listening) await server.close()
      }
      for (let at = nodes.length - 1; at >= 0; at--) await nodes[at].destroy()
    }
  }
  testnet[Symbol.iterator] = () => nodes[Symbol.iterator]()
  if (typeof options.teardown === 'function') options.teardown(() => testnet.destroy(), { order: Infinity })
  return testnet
}
module.exports.default = module.exports
