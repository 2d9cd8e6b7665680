// bare-dns 2.2: names of hosts, as the machine resolves them.

const families = { IPv4: 4, IPv6: 6 }

exports.lookup = function lookup(hostname, opts = {}, cb) {
  if (typeof opts === 'function') [opts, cb] = [{}, opts]
  let { family = 0, all = false } = opts
  if (typeof family === 'string') family = families[family] || 0
  native.lookup(hostname, family || 0, (err, addresses) => {
    if (err) return all ? cb(err, null) : cb(err, null, 0)
    if (all) return cb(null, addresses)
    cb(null, addresses[0].address, addresses[0].family)
  })
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
