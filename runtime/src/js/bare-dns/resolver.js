// Asks servers for the records of a name.

const { type } = require('bare-dns/constants')
const errors = require('pome-io/errors')('DNSError', ['RESOLVER_DESTROYED', 'UNKNOWN_RECORD_TYPE', 'INVALID_IP_ADDRESS'])

const text = (bytes) => Buffer.from(bytes).toString()

const soa = ({ mname, rname, serial, refresh, retry, expire, minimum }) => {
  return { nsname: mname, hostmaster: rname, serial, refresh, retry, expire, minttl: minimum }
}
const mx = ({ preference, exchange }) => ({ priority: preference, exchange })
const srv = ({ priority, weight, port, target }) => ({ priority, weight, port, name: target })
const naptr = ({ flags, services, regexp, replacement, order, preference }) => {
  return { flags, service: services, regexp, replacement, order, preference }
}

// What a program gets of the records of a type.
const shapes = {
  A: ({ addr }) => addr,
  AAAA: ({ addr }) => addr,
  CAA: ({ critical, tag, value }) => ({ critical, [tag]: text(value) }),
  CNAME: ({ cname }) => cname,
  MX: mx,
  NAPTR: naptr,
  NS: ({ nsdname }) => nsdname,
  PTR: ({ dname }) => dname,
  SRV: srv,
  TLSA: ({ cert_usage: certUsage, selector, match, data }) => ({ certUsage, selector, match, data: Buffer.from(data) }),
  TXT: ({ data }) => data
}

// The same where all types are asked for at once.
const anyShapes = {
  A: ({ addr, ttl }) => ({ address: addr, ttl }),
  AAAA: ({ addr, ttl }) => ({ address: addr, ttl }),
  CNAME: ({ cname }) => ({ value: cname }),
  NS: ({ nsdname }) => ({ value: nsdname }),
  PTR: ({ dname }) => ({ value: dname }),
  TXT: ({ data }) => ({ entries: data }),
  MX: mx,
  SRV: srv,
  NAPTR: naptr,
  SOA: soa
}

function titled(name) {
  return name[0] + name.slice(1).toLowerCase()
}

class DNSResolver {
  constructor(opts = {}) {
    const { servers = null, localAddress = null } = opts
    this._handle = new native.Resolver()
    this._servers = native.systemServers()
    this._local = []
    if (servers !== null) this.setServers(servers)
    if (localAddress !== null) this.setLocalAddress(localAddress.ipv4, localAddress.ipv6)
  }

  _open() {
    if (this._handle === null) throw errors.RESOLVER_DESTROYED('Resolver is destroyed')
    return this._handle
  }

  getServers() {
    this._open()
    return [...this._servers]
  }

  setServers(servers) {
    this._open()
    this._servers = servers.map((server) => {
      const known = native.server(String(server))
      if (known === undefined) throw errors.INVALID_IP_ADDRESS(`Invalid IP address '${server}'`)
      return known
    })
  }

  setLocalAddress(ipv4, ipv6) {
    this._open()
    this._local = [ipv4, ipv6].filter((address) => typeof address === 'string')
  }

  cancel() {
    this._open().cancel()
  }

  destroy() {
    if (this._handle === null) return
    this._handle.cancel()
    this._handle = null
  }

  resolve(hostname, rrtype, cb) {
    if (typeof rrtype !== 'string') [rrtype, cb] = ['A', typeof rrtype === 'function' ? rrtype : cb]
    if (rrtype !== 'ANY' && rrtype !== 'SOA' && !Object.hasOwn(shapes, rrtype)) {
      throw errors.UNKNOWN_RECORD_TYPE(`Unknown resource record type '${rrtype}'`)
    }
    const method = rrtype === 'A' ? 'resolve4' : rrtype === 'AAAA' ? 'resolve6' : 'resolve' + titled(rrtype)
    return DNSResolver.prototype[method].call(this, hostname, cb)
  }

  resolve4(hostname, opts, cb) {
    this._addresses(hostname, 'A', opts, cb)
  }

  resolve6(hostname, opts, cb) {
    this._addresses(hostname, 'AAAA', opts, cb)
  }

  _addresses(hostname, type, opts, cb) {
    if (typeof opts === 'function') [opts, cb] = [{}, opts]
    const shape = opts && opts.ttl ? ({ addr, ttl }) => ({ address: addr, ttl }) : shapes[type]
    this._list(hostname, type, shape, cb)
  }

  resolveAny(hostname, cb) {
    this._query(hostname, 'ANY', 'queryAny', hostname, cb, (records) => {
      return records.filter(({ type }) => Object.hasOwn(anyShapes, type)).map((record) => ({ type: record.type, ...anyShapes[record.type](record) }))
    })
  }

  // The one type of which a name has one record.
  resolveSoa(hostname, cb) {
    this._query(hostname, 'SOA', 'querySoa', hostname, cb, (records) => {
      const found = records.find(({ type }) => type === 'SOA')
      return found === undefined ? null : soa(found)
    })
  }

  reverse(ip, cb) {
    const name = native.reverseName(String(ip))
    if (name === undefined) throw errors.INVALID_IP_ADDRESS(`Invalid IP address '${ip}'`)
    this._list(name, 'PTR', shapes.PTR, cb, 'getHostByAddr', ip)
  }

  _list(name, rrtype, shape, cb, syscall = 'query' + titled(rrtype), hostname = name) {
    this._query(name, rrtype, syscall, hostname, cb, (records) => {
      const found = records.filter(({ type }) => type === rrtype)
      return found.length === 0 ? null : found.map(shape)
    })
  }

  _query(name, rrtype, syscall, hostname, cb = noop, shape) {
    this._open().query(this._servers, this._local, String(name), type[rrtype], (err, records) => {
      if (err) return cb(failure(err.code, syscall, hostname), null)
      const result = shape(records)
      if (result === null) return cb(failure('ENODATA', syscall, hostname), null)
      cb(null, result)
    })
  }
}

const noop = () => {}

function failure(code, syscall, hostname) {
  const err = new errors(`${syscall} ${hostname}`, failure, code)
  err.syscall = syscall
  err.hostname = hostname
  return err
}

for (const name of ['CAA', 'CNAME', 'MX', 'NAPTR', 'NS', 'PTR', 'SRV', 'TLSA', 'TXT']) {
  const method = 'resolve' + titled(name)
  const make = {
    [method](hostname, cb) {
      this._list(hostname, name, shapes[name], cb)
    }
  }
  Object.defineProperty(DNSResolver.prototype, method, { value: make[method], writable: true, configurable: true })
}

module.exports = DNSResolver
DNSResolver.native = native
DNSResolver.errors = errors
DNSResolver.methods = Object.getOwnPropertyNames(DNSResolver.prototype).filter((name) => name.startsWith('resolve') || name === 'reverse')
