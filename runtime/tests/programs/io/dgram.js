// not in bare
const dgram = require('dgram')

const once = (emitter, name) => new Promise((resolve) => emitter.once(name, (...args) => resolve(args)))

async function main () {
  const server = dgram.createSocket('udp4')
  console.log(server.type, server.bound, server.address())
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  const { address, family, port } = server.address()
  console.log(address, family, port > 0, server.bound)

  const client = dgram.createSocket('udp4')
  let message = once(server, 'message')
  let sent = null
  client.send('hello', port, '127.0.0.1', (...args) => { sent = args })
  let [data, from] = await message
  console.log(Buffer.isBuffer(data), data.toString(), from.address, from.family, from.size, from.port === client.address().port)

  message = once(server, 'message')
  client.send(Buffer.from('a part of it'), 2, 4, port, 'localhost')
  console.log((await message)[0].toString())
  message = once(server, 'message')
  client.send(['one', Buffer.from('two')], port)
  console.log((await message)[0].toString())

  message = once(client, 'message')
  server.send('back', client.address().port, '127.0.0.1')
  console.log((await message)[0].toString())

  client.connect(port, '127.0.0.1')
  await once(client, 'connect')
  console.log(client.connected, client.remoteAddress().port === port)
  message = once(server, 'message')
  client.send('connected')
  console.log((await message)[0].toString())
  message = once(server, 'message')
  client.send('a part of it', 10, 2)
  console.log((await message)[0].toString())
  try {
    client.send('x', port)
  } catch (err) {
    console.log(err.code)
  }
  client.disconnect()
  console.log(client.connected, client.remoteAddress())
  for (const bad of [() => client.disconnect(), () => client.bind(), () => client.send('x'), () => client.send('x', 70000), () => client.send(5, port), () => dgram.createSocket('tcp')]) {
    try {
      bad()
    } catch (err) {
      console.log(err.name, err.code)
    }
  }

  console.log(client.setTTL(32), client.setMulticastTTL(2), client.setMulticastLoopback(true))
  client.setBroadcast(true)
  client.setRecvBufferSize(8192)
  console.log(client.getRecvBufferSize() >= 8192, client.getSendQueueCount() <= 1)

  const small = new dgram.Socket({ readBufferSize: 3 }, (data) => console.log('small', data.toString()))
  small.bind(0, '127.0.0.1')
  await once(small, 'listening')
  const error = once(small, 'error')
  client.send('long', small.address().port)
  console.log((await error)[0].code)
  message = once(small, 'message')
  client.send('ok', small.address().port)
  await message

  const six = dgram.createSocket({ type: 'udp6', ipv6Only: true })
  six.bind(0, '::1')
  await once(six, 'listening')
  console.log(six.address().family, dgram.isIP('::1'), dgram.isIPv4('1.2.3.4'), dgram.isIP('x'))
  const taken = dgram.createSocket('udp4')
  taken.bind(port, '127.0.0.1')
  console.log((await once(taken, 'error'))[0].code)

  // One that is not wanted does not keep the program.
  dgram.createSocket('udp4').bind().unref()
  for (const socket of [server, client, small, six]) socket.close()
  await once(server, 'close')
  console.log(server.closed, sent)
}

main()
