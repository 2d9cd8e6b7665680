// not in bare: its packages are not where it looks for them
const Pipe = require('bare-pipe')
const net = require('bare-net')
const fs = require('bare-fs')
const os = require('bare-os')
const path = require('bare-path')

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'pome-pipe-'))
const name = path.join(root, 'socket')

const [read, write] = Pipe.pipe()
const reader = new Pipe(read)
const writer = new Pipe(write)
reader.on('data', (data) => console.log('read', data.toString())).on('end', () => named())
writer.write('through a pipe')
writer.end()
writer.on('finish', () => writer.destroy())

function named() {
  reader.destroy()
  const server = Pipe.createServer((pipe) => pipe.on('data', (data) => pipe.end('echo ' + data)))
  server.listen(name, () => {
    console.log(server.address() === name)
    const client = new Pipe(name)
    client
      .on('connect', () => client.write('hello'))
      .on('data', (data) => console.log(data.toString()))
      .on('end', () => client.end())
      .on('close', () => server.close(() => missing()))
  })
}

function missing() {
  console.log(fs.existsSync(name))
  new Pipe(name).on('error', (err) => console.log(err.code)).on('close', both)
}

function both() {
  const server = net.createServer((socket) => socket.on('data', (data) => socket.end(data)))
  server.listen(name, () => {
    const socket = net.createConnection(name, () => socket.end('over bare-net'))
    socket
      .on('data', (data) => console.log(data.toString()))
      .on('close', () =>
        server.close(() => {
          const tcp = net.createServer((socket) => socket.pipe(socket))
          tcp.listen(0, '127.0.0.1', () => {
            const socket = net.createConnection(tcp.address().port, '127.0.0.1')
            socket.on('data', (data) => {
              console.log(data.toString(), socket.remoteAddress)
              socket.end()
            })
            socket.write('over tcp')
            socket.on('close', () => tcp.close(() => fs.rmSync(root, { recursive: true })))
          })
        })
      )
  })
}
