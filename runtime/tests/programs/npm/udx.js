// Two streams between two sockets of one program.
const UDX = require('udx-native')

async function main () {
  const udx = new UDX()
  const [a, b] = [udx.createSocket(), udx.createSocket()]
  a.bind(0, '127.0.0.1')
  b.bind(0, '127.0.0.1')
  const heard = new Promise((resolve) => b.once('message', (message, from) => resolve([message.toString(), from.port === a.address().port, from.host])))
  console.log('sent', await a.send(Buffer.from('a datagram'), b.address().port, '127.0.0.1'))
  console.log(...await heard)

  let asked = 0
  const s = udx.createStream(1)
  const t = udx.createStream(2, {
    firewall (socket, port, host) {
      asked++
      setImmediate(() => t.connect(b, 1, port, host))
      return false
    }
  })
  s.connect(a, 2, b.address().port, '127.0.0.1')
  const got = []
  t.on('data', (data) => got.push(data))
  t.on('end', () => {
    const all = Buffer.concat(got)
    console.log('read', all.byteLength, all.subarray(0, 5).toString(), all[all.byteLength - 1])
    t.end('thanks')
  })
  s.on('data', (data) => console.log('answer', data.toString()))
  const closed = Promise.all([s, t].map((stream) => new Promise((resolve) => stream.once('close', resolve))))
  s.write('hello')
  for (let i = 0; i < 100; i++) s.write(Buffer.alloc(50000, i))
  console.log('flushed', await s.flush(), 'asked', asked)
  const spoken = new Promise((resolve) => t.once('message', (message) => resolve(message.toString())))
  s.trySend(Buffer.from('beside'))
  console.log('message', await spoken)
  s.end()
  await closed
  console.log('closed', s.destroyed, t.destroyed, a.idle, b.idle)

  const u = udx.createStream(3)
  const v = udx.createStream(4)
  u.connect(a, 4, b.address().port, '127.0.0.1')
  v.connect(b, 3, a.address().port, '127.0.0.1')
  const failed = new Promise((resolve) => v.once('error', (error) => resolve(error.code)))
  u.write('x')
  v.once('data', () => u.destroy())
  console.log('error', await failed)
  await Promise.all([a.close(), b.close()])
  console.log((await udx.lookup('127.0.0.1')).host, udx.networkInterfaces().some(({ host }) => host === '127.0.0.1'))
}

main().then(() => console.log('done'))
