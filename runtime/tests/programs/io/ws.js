// not in bare: its packages are not where it looks for them
const ws = require('bare-ws')

let closed

const server = new ws.Server({ port: 0, host: '127.0.0.1' }, (socket) => {
  const heard = []
  socket.on('data', (data) => socket.write(data)).on('ping', (data) => heard.push(data.toString()))
  closed = new Promise((resolve) =>
    socket.on('close', () => resolve([...heard, socket.closeCode, socket.closeReason.toString()]))
  )
})

server.on('listening', () => {
  const { port } = server.address()
  const socket = new ws.Socket(`ws://127.0.0.1:${port}/path`)
  const sizes = []
  socket.write('hello')
  socket.write(Buffer.alloc(200, 1))
  socket.write(Buffer.alloc(70000, 2))
  socket.on('data', (data) => {
    sizes.push(data.byteLength)
    if (sizes.length < 3) return
    console.log(sizes)
    socket.ping('are you there')
  })
  socket.on('pong', (data) => {
    console.log('pong', data.toString())
    socket.close(1001, 'going')
  })
  socket.on('close', async () => {
    console.log('client', socket.closeCode, 'server', await closed)
    refused(port)
  })
})

function refused(port) {
  const strict = new ws.Server({ port: 0, host: '127.0.0.1', verifyClient: (req) => req.url === '/ok' })
  strict.on('listening', () => {
    const socket = new ws.Socket({ port: strict.address().port, host: '127.0.0.1', path: '/no' })
    socket.on('error', (err) => console.log(err.name, err.code)).on('close', () => {
      strict.close(() => server.close(() => console.log('closed')))
    })
  })
}
