// not in bare: its packages are not where it looks for them
const dgram = require('dgram')
const net = require('net')
const dns = require('dns')

const u16 = (n) => Buffer.from([n >> 8, n & 255])
const u32 = (n) => Buffer.concat([u16(n >>> 16), u16(n & 0xffff)])
const text = (s) => Buffer.concat([Buffer.from([s.length]), Buffer.from(s)])
const name = (s) => Buffer.concat([...s.split('.').map(text), Buffer.from([0])])
// `mail` of the name that was asked for.
const mail = Buffer.concat([text('mail'), Buffer.from([0xc0, 12])])

const data = {
  1: [Buffer.from([1, 2, 3, 4]), Buffer.from([5, 6, 7, 8])],
  28: [Buffer.from('20010db8000000000000000000000001', 'hex')],
  2: [name('ns.test')],
  5: [name('other.test')],
  6: [Buffer.concat([name('ns.test'), name('who.test'), ...[1, 2, 3, 4, 5].map(u32)])],
  12: [name('host.test')],
  15: [Buffer.concat([u16(10), mail])],
  16: [Buffer.concat([text('one'), text('two')])],
  33: [Buffer.concat([u16(1), u16(2), u16(80), name('srv.test')])],
  35: [Buffer.concat([u16(1), u16(2), text('s'), text('sip'), text(''), name('n.test')])],
  52: [Buffer.from([3, 1, 1, 0xab])],
  257: [Buffer.concat([Buffer.from([128]), text('issue'), Buffer.from('ca.test')])]
}

// The first part of the name says how the server answers.
function answer (question, isStream) {
  let end = 12
  while (question[end] !== 0) end += question[end] + 1
  const how = question.toString('utf8', 13, 13 + question[12])
  const type = question.readUInt16BE(end + 1)
  const code = how === 'none' ? 3 : how === 'broken' ? 2 : 0
  const isCut = how === 'long' && !isStream
  let records = code !== 0 || isCut || how === 'empty' ? [] : (data[type] || []).map((bytes) => [type, bytes])
  if (type === 255) records = [1, 15, 6].map((type) => [type, data[type][0]])
  const all = records.map(([type, bytes]) => Buffer.concat([Buffer.from([0xc0, 12]), u16(type), u16(1), u32(60), u16(bytes.length), bytes]))
  const head = Buffer.concat([question.subarray(0, 2), u16(0x8180 | code | (isCut ? 0x200 : 0)), u16(1), u16(all.length), u16(0), u16(0)])
  return Buffer.concat([head, question.subarray(12, end + 5), ...all])
}

async function main () {
  const udp = dgram.createSocket('udp4', (question, from) => {
    if (question.toString('utf8', 13, 13 + question[12]) === 'silent') return
    // What somebody else could send first is not taken.
    const forged = answer(question)
    forged[0] ^= 1
    udp.send(forged, from.port, from.address)
    udp.send(answer(question), from.port, from.address)
  })
  udp.bind(0, '127.0.0.1')
  await new Promise((resolve) => udp.once('listening', resolve))
  const { port } = udp.address()
  const tcp = net.createServer((socket) => {
    socket.on('data', (data) => {
      const reply = answer(data.subarray(2), true)
      socket.end(Buffer.concat([u16(reply.length), reply]))
    })
  })
  tcp.listen(port, '127.0.0.1')
  await new Promise((resolve) => tcp.once('listening', resolve))

  const { Resolver } = dns.promises
  const resolver = new Resolver({ servers: [`127.0.0.1:${port}`] })
  console.log(resolver.getServers()[0] === `127.0.0.1:${port}`)
  for (const type of ['A', 'AAAA', 'NS', 'CNAME', 'SOA', 'PTR', 'MX', 'TXT', 'SRV', 'NAPTR', 'TLSA', 'CAA', 'ANY']) {
    console.log(type, await resolver.resolve('a.test', type))
  }
  console.log(await resolver.resolve4('a.test', { ttl: true }))
  console.log(await resolver.resolve4('long.test'))
  console.log(await resolver.reverse('127.0.0.1'))
  for (const host of ['none.test', 'broken.test', 'empty.test', 'a..test']) {
    await resolver.resolve(host).catch((err) => console.log(err.name, err.code, err.syscall, err.hostname, err.message))
  }
  for (const bad of [() => resolver.resolve('a.test', 'X'), () => resolver.reverse('x'), () => resolver.setServers(['x'])]) {
    try {
      await bad()
    } catch (err) {
      console.log(err.code)
    }
  }
  const waiting = resolver.resolve('silent.test')
  setTimeout(() => resolver.cancel(), 20)
  await waiting.catch((err) => console.log(err.code))

  dns.setServers([`127.0.0.1:${port}`])
  dns.resolveMx('a.test', (err, records) => {
    console.log(err, records)
    resolver.destroy()
    try {
      resolver.getServers()
    } catch (err) {
      console.log(err.code)
    }
    udp.close()
    tcp.close()
  })
}

main()
