// not in bare: its packages are not where it looks for them
const tcp = require('bare-tcp')

console.log(tcp.isIP('127.0.0.1'), tcp.isIP('::1'), tcp.isIP('x'), tcp.isIPv4('1.2.3.4'), tcp.isIPv6('fe80::1%lo'))

// What two sides say at about the same time, in either order.
const both = []

const server = tcp.createServer((socket) => {
  both.push(['server', socket.remoteFamily, socket.localPort === server.address().port, socket.readyState].join(' '))
  socket.on('data', (data) => socket.write(data)).on('end', () => socket.end())
})

server.listen(0, '127.0.0.1', () => {
  const { address, family, port } = server.address()
  console.log('listening', address, family, port > 0, server.listening)
  try {
    server.listen(0)
  } catch (err) {
    console.log(err.name, err.code)
  }
  const taken = tcp.createServer()
  taken.on('error', (err) => both.push(`${err.code} ${err.message}`)).listen(port, '127.0.0.1')

  const socket = tcp.createConnection(port, '127.0.0.1')
  const size = 1 << 20
  let received = 0
  console.log(socket.connecting, socket.pending, socket.readyState)
  socket
    .on('connect', () => {
      both.push(['connected', socket.remotePort === port, socket.connecting, socket.readyState].join(' '))
      socket.setNoDelay(true)
      socket.setKeepAlive(true, 1000)
      socket.end(Buffer.alloc(size, 7))
    })
    .on('data', (data) => (received += data.byteLength))
    .on('end', () => console.log('received', received === size))
    .on('close', () => {
      console.log('closed', socket.readyState, both.sort())
      refused(port)
    })
})

function refused(port) {
  server.close(() => {
    console.log('server closed')
    const socket = tcp.createConnection(port, '127.0.0.1')
    socket.on('error', (err) => console.log(err.code, err.message)).on('close', timeout)
  })
}

function timeout() {
  const quiet = tcp.createServer((socket) => socket.resume())
  quiet.listen(0, 'localhost', () => {
    // On a busy machine finding the name may take longer than that.
    const seen = new Set()
    const saw = (what) => {
      if (seen.add(what).size < 2) return
      console.log([...seen].sort().join('\n'))
      socket.destroy()
      quiet.close()
    }
    const socket = tcp.createConnection({ port: quiet.address().port, timeout: 20 }, () => saw('by name'))
    socket.once('timeout', () => saw('timeout'))
  })
}

// A socket that is listened to keeps no program alive once it is unref'd.
tcp.createServer().listen(0, '127.0.0.1').unref()
for (const port of ['x', 70000]) {
  try {
    tcp.createConnection(port)
  } catch (err) {
    console.log(err.code, err.message)
  }
}
