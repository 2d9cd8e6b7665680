// not in bare: its packages are not where it looks for them
const fetch = require('bare-fetch')
const http = require('bare-http1')

const server = http.createServer(async (req, res) => {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  switch (req.url) {
    case '/json':
      res.setHeader('Content-Type', 'application/json')
      return res.end(JSON.stringify({ method: req.method, type: req.headers['content-type'], body }))
    case '/redirect':
      return res.writeHead(302, { location: '/json' }).end()
    case '/loop':
      return res.writeHead(302, { location: '/loop' }).end()
    case '/slow':
      return setTimeout(() => res.end('late'), 60000).unref()
    default:
      res.statusCode = 404
      res.end('nothing here')
  }
})

server.listen(0, '127.0.0.1', async () => {
  const base = `http://127.0.0.1:${server.address().port}`
  let response = await fetch(base + '/json')
  console.log(response.ok, response.status, response.statusText, response.headers.get('Content-Type'), response.type)
  console.log(await response.json(), response.bodyUsed)
  await response.text().catch((err) => console.log(err.name, err.code))
  response = await fetch(base + '/json', { method: 'post', body: 'some text' })
  console.log(await response.json())
  response = await fetch(base + '/json', { method: 'PUT', body: new URLSearchParams({ a: 1, b: 'c' }) })
  console.log(await response.json())
  response = await fetch(base + '/redirect')
  console.log(response.redirected, response.url === base + '/json', (await response.json()).method)
  response = await fetch(base + '/nope')
  console.log(response.ok, response.status, Buffer.from(await response.arrayBuffer()).toString())
  response = await fetch(new fetch.Request(base + '/json', { headers: { 'X-A': '1' } }))
  const clone = response.clone()
  console.log((await response.text()) === (await clone.text()))
  response = await fetch(base + '/json')
  let pieces = ''
  for await (const piece of response.body) pieces += Buffer.from(piece).toString()
  console.log(JSON.parse(pieces).method)
  for (const url of [base + '/loop', 'ftp://127.0.0.1', 'nothing', 'http://127.0.0.1:1']) {
    await fetch(url).catch((err) => console.log(err.name, err.code))
  }
  const headers = new fetch.Headers({ b: '2', A: ' 1 ' })
  headers.append('b', '3')
  console.log([...headers], headers.get('B'), headers.has('c'))
  console.log(fetch.Response.json({ a: 1 }).headers.get('content-type'), fetch.Response.redirect('http://x/').status)
  http.globalAgent.destroy()
  server.closeAllConnections()
  server.close(() => console.log('closed'))
})
