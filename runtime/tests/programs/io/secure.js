// not in bare: its packages are not where it looks for them
const fs = require('bare-fs')
const path = require('bare-path')
const tls = require('bare-tls')
const https = require('bare-https')
const fetch = require('bare-fetch')

const cert = fs.readFileSync(path.join(__dirname, 'cert.pem'))
const key = fs.readFileSync(path.join(__dirname, 'key.pem'))

const server = tls.createServer({ cert, key, alpnProtocols: ['b', 'a'] }, (socket) => {
  socket.on('data', (data) => socket.write(data)).on('end', () => socket.end())
})

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address()
  const socket = tls.createConnection({ port, host: 'localhost', ca: cert, alpnProtocols: ['a'] }, () => {
    console.log('connected', socket.encrypted, socket.alpnProtocol)
    socket.end(Buffer.alloc(200000, 1))
  })
  let received = 0
  socket
    .on('data', (data) => (received += data.byteLength))
    .on('end', () => console.log('received', received))
    .on('close', () => untrusted(port))
})

function untrusted(port) {
  const socket = tls.createConnection({ port, host: 'localhost' })
  socket.on('error', (err) => console.log(err.name, err.code)).on('close', () => {
    const anyone = tls.createConnection({ port, host: 'localhost', rejectUnauthorized: false }, () => {
      console.log('anyone')
      anyone.end()
      anyone.resume()
      anyone.on('close', () => server.close(() => web()))
    })
  })
}

function web() {
  const server = https.createServer({ cert, key }, (req, res) => res.end(`${req.method} ${req.url}`))
  server.listen(0, '127.0.0.1', async () => {
    const { port } = server.address()
    const agent = new https.Agent({ ca: cert, keepAlive: true })
    const req = https.request({ host: 'localhost', port, path: '/over/tls', agent }, async (res) => {
      for await (const data of res) console.log(res.statusCode, data.toString())
      const response = await fetch(`https://localhost:${port}/fetched`, { agent })
      console.log(response.status, await response.text())
      await fetch(`https://localhost:${port}/`, { agent: false }).catch((err) => console.log(err.code, err.cause.code))
      agent.destroy()
      server.close(() => console.log('closed'))
    })
    req.end()
  })
}
