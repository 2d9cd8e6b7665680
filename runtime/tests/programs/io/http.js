// not in bare: its packages are not where it looks for them
const http = require('bare-http1')
const tcp = require('bare-tcp')

const server = http.createServer(async (req, res) => {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  switch (req.url) {
    case '/chunked':
      res.setHeader('X-Test', ['a', 'b'])
      res.write('one ')
      res.write('two')
      return res.end()
    case '/empty':
      res.statusCode = 204
      return res.end()
    case '/large':
      return res.end(Buffer.alloc(300000, 1))
    case '/close':
      res.setHeader('connection', 'close')
      return res.end('closing')
    default:
      res.writeHead(201, 'Made', { 'Content-Type': 'text/plain' })
      res.end(`${req.method} ${req.url} ${req.headers['x-asked']} ${body}`)
  }
})

// However long the machine takes from one request to the next.
server.keepAliveTimeout = 0
server.listen(0, '127.0.0.1', main)

const agent = new http.Agent({ keepAlive: true })
const ports = new Set()

function ask(opts, body) {
  return new Promise((resolve, reject) => {
    const req = http.request({ host: '127.0.0.1', port: server.address().port, agent, ...opts }, async (res) => {
      const chunks = []
      ports.add(res.socket.localPort)
      for await (const chunk of res) chunks.push(chunk)
      resolve([res.statusCode, res.statusMessage, res.headers, Buffer.concat(chunks), res.complete])
    })
    req.on('error', reject)
    if (body) for (const part of body) req.write(part)
    req.end()
  })
}

async function main() {
  let [status, message, headers, body, complete] = await ask({ path: '/x?y=1', headers: { 'X-Asked': 'yes' } })
  console.log(status, message, headers['content-type'], headers['content-length'], body.toString(), complete)
  ;[status, , headers, body] = await ask({ method: 'POST', path: '/post' }, ['some ', 'body'])
  console.log(status, headers.connection, body.toString())
  ;[status, , headers, body] = await ask({ path: '/chunked' })
  console.log(status, headers['transfer-encoding'], headers['x-test'], body.toString())
  ;[status, message, headers, body] = await ask({ path: '/empty' })
  console.log(status, message, headers['content-length'], body.byteLength)
  ;[, , , body] = await ask({ path: '/large' })
  console.log(body.byteLength)
  ;[status, , headers, body] = await ask({ method: 'HEAD', path: '/head' })
  console.log(status, body.byteLength)
  console.log('connections', ports.size)
  ;[, , headers, body] = await ask({ path: '/close' })
  console.log(headers.connection, body.toString())
  for (const name of ['a b', '__proto__']) {
    try {
      http.request({ headers: { ['x']: 1, [name]: 'x' }, agent }).on('error', () => {})
      console.log('no error')
    } catch (err) {
      console.log(err.name, err.code)
    }
  }
  agent.destroy()
  raw()
}

// Two requests at once are answered in order; what is no HTTP is refused.
function raw() {
  const socket = tcp.createConnection(server.address().port, '127.0.0.1')
  let text = ''
  socket.on('data', (data) => (text += data)).on('end', () => socket.end()).on('close', () => {
    console.log(text.split('\r\n').filter((line) => /^(HTTP|GET)/.test(line)))
    refused()
  })
  socket.write('GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
}

function refused() {
  const socket = tcp.createConnection(server.address().port, '127.0.0.1')
  let text = ''
  socket.on('data', (data) => (text += data)).on('end', () => socket.end()).on('close', () => {
    console.log(text.split('\r\n')[0])
    upgrade()
  })
  socket.write('this is not HTTP\r\n\r\n')
}

function upgrade() {
  server.on('upgrade', (req, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    socket.on('data', (data) => socket.end(data))
  })
  const req = http.request({ port: server.address().port, host: '127.0.0.1', headers: { connection: 'Upgrade', upgrade: 'echo' } })
  req.on('upgrade', (res, socket) => {
    console.log(res.statusCode, res.headers.upgrade)
    socket.on('data', (data) => console.log(data.toString())).on('close', () => lost())
    socket.write('another protocol')
    socket.on('end', () => socket.end())
  })
  req.end()
}

function lost() {
  const port = server.address().port
  server.close(() => {
    console.log('closed')
    http.get({ port, host: '127.0.0.1' }).on('error', (err) => console.log(err.code))
  })
}
