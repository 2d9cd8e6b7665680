// bare-env 3.0: the environment as an object.

const os = require('bare-os')

module.exports = new Proxy(Object.create(null), {
  ownKeys: () => os.getEnvKeys(),
  has: (target, name) => typeof name === 'string' && os.hasEnv(name),
  get: (target, name) => (typeof name === 'string' ? os.getEnv(name) : undefined),

  set(target, name, value) {
    if (typeof name !== 'string') return false
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      throw new Error('Environment variable must be of type string, number, or boolean')
    }
    os.setEnv(name, String(value))
    return true
  },

  deleteProperty(target, name) {
    if (typeof name === 'string') os.unsetEnv(name)
    return true
  },

  getOwnPropertyDescriptor(target, name) {
    if (typeof name !== 'string' || !os.hasEnv(name)) return undefined
    return { value: os.getEnv(name), enumerable: true, configurable: true, writable: true }
  }
})
