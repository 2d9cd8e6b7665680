// not in bare
const Channel = require('bare-channel')
const BroadcastChannel = require('bare-broadcast-channel')

async function echo () {
  const channel = new Channel()
  const thread = new Bare.Thread({ data: channel.handle }, async (handle) => {
    const Channel = require('bare-channel')
    const port = Channel.from(handle).connect()
    for await (const data of port) await port.write({ back: data })
  })
  const port = channel.connect()
  port.on('end', () => console.log('end')).on('close', () => console.log('close'))
  console.log(await port.write('ping'), await port.read())
  const error = new TypeError('bad', { cause: new URL('http://a/b') })
  await port.write({ error, buffer: Buffer.from('abc'), map: new Map([['k', error]]), view: new DataView(new ArrayBuffer(4), 1, 2), date: new Date(5) })
  const { back } = await port.read()
  console.log(back.error instanceof TypeError, back.error.message, back.error.cause.href, Buffer.isBuffer(back.buffer), back.buffer.toString())
  console.log(back.map.get('k') === back.error, back.view.byteLength, back.date.getTime())
  const bytes = new Uint8Array([1, 2, 3]).buffer
  await port.write(bytes, { transfer: [bytes] })
  console.log(bytes.byteLength, (await port.read()).back.byteLength)
  try {
    await port.write(() => {})
  } catch (err) {
    console.log(err.code)
  }
  console.log(await port.write(null))
  await port.close()
  console.log(await port.write('late'), await port.read())
  thread.join()
}

// More than there is room for, while the other end stands still.
async function full () {
  const channel = new Channel()
  const thread = new Bare.Thread({ data: channel.handle }, (handle) => {
    const Channel = require('bare-channel')
    const port = Channel.from(handle).connect()
    let sum = 0
    for (const n of port) {
      sum += n
      if (n === 2999) break
    }
    port.writeSync(sum)
    port.close()
  })
  const port = channel.connect()
  for (let i = 0; i < 3000; i++) await port.write(i)
  console.log(await port.read(), await port.read())
  thread.join()
}

// A thread that goes without a word ends its port.
async function gone () {
  const channel = new Channel()
  const thread = new Bare.Thread({ data: channel.handle }, (handle) => {
    const Channel = require('bare-channel')
    const port = Channel.from(handle).connect()
    port.writeSync('last')
    Bare.exit()
  })
  const port = channel.connect()
  console.log(await port.read(), await port.read())
  thread.join()
}

async function streams () {
  const channel = new Channel()
  const a = channel.connect().createWriteStream()
  const b = channel.connect().createReadStream()
  a.write({ n: 1 })
  a.end({ n: 2 })
  const all = []
  for await (const data of b) all.push(data)
  console.log(all)
}

async function many () {
  const channel = new BroadcastChannel()
  const run = (label) => new Bare.Thread({ data: { handle: channel.handle, label } }, async ({ handle, label }) => {
    const BroadcastChannel = require('bare-broadcast-channel')
    const port = BroadcastChannel.from(handle).connect()
    const got = await port.read()
    await port.write(label + ' got ' + got)
    await port.close()
  })
  const port = channel.connect()
  const threads = [run('a'), run('b')]
  while (port.peers < 2) await new Promise((resolve) => port.once('peers', resolve))
  await port.write('hello')
  const all = []
  for await (const answer of port) all.push(answer)
  console.log(all.filter((answer) => answer.endsWith('hello')).sort(), port.peers)
  await port.close()
  for (const thread of threads) thread.join()
  console.log(BroadcastChannel.MAX_PORTS > 1)
}

async function main () {
  await echo()
  await full()
  await gone()
  await streams()
  await many()
}

main()
