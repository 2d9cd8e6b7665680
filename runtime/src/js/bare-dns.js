// bare-dns 2.2: names of hosts, as the machine resolves them, and the records that servers have of them.

const constants = require('bare-dns/constants')
const Resolver = require('bare-dns/resolver')

const families = { IPv4: 4, IPv6: 6 }

exports.lookup = function lookup(hostname, opts = {}, cb) {
  if (typeof opts === 'function') [opts, cb] = [{}, opts]
  let { family = 0, all = false } = opts
  if (typeof family === 'string') family = families[family] || 0
  Resolver.native.lookup(hostname, family || 0, (err, addresses) => {
    if (err) return all ? cb(err, null) : cb(err, null, 0)
    if (all) return cb(null, addresses)
    cb(null, addresses[0].address, addresses[0].family)
  })
}

// One resolver for all that do not make their own.
let shared = null

function global() {
  if (shared === null) shared = new Resolver()
  return shared
}

exports.promises = {
  lookup(hostname, opts = {}) {
    return new Promise((resolve, reject) => {
      exports.lookup(hostname, opts, (err, address, family) => {
        if (err) reject(err)
        else resolve(opts.all ? address : { address, family })
      })
    })
  }
}

exports.promises.Resolver = class PromiseResolver extends Resolver {}

for (const name of ['getServers', 'setServers', 'setLocalAddress', 'cancel']) {
  exports[name] = exports.promises[name] = (...args) => global()[name](...args)
}

for (const name of Resolver.methods) {
  exports[name] = (...args) => global()[name](...args)
  exports.promises[name] = (...args) => promised(global(), Resolver.prototype[name], args)
  exports.promises.Resolver.prototype[name] = function (...args) {
    return promised(this, Resolver.prototype[name], args)
  }
}

function promised(resolver, method, args) {
  return new Promise((resolve, reject) => {
    method.call(resolver, ...args, (err, result) => {
      if (err) reject(err)
      else resolve(result)
    })
  })
}

exports.Resolver = Resolver
exports.constants = exports.promises.constants = constants
exports.errors = exports.promises.errors = Resolver.errors
