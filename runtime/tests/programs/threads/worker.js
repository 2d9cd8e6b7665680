// not in bare: its packages are not where it looks for them
const Worker = require('bare-worker')
const { MessageChannel, BroadcastChannel } = Worker

if (Worker.isMainThread) main()
else work()

function once (emitter, name) {
  return new Promise((resolve) => emitter.once(name, (...args) => resolve(args)))
}

async function main () {
  console.log(Worker.parentPort, Worker.workerData)
  Worker.setEnvironmentData('colour', new Map([['of', 'plum']]))
  Worker.preload(__dirname + '/files/preload.cjs')

  // Messages both ways, ports that are handed over, bytes.
  const worker = new Worker(__filename, { workerData: { job: 'talk', at: new URL('http://a/b') }, argv: [1, 'two'] })
  await once(worker, 'online')
  console.log(await once(worker, 'message'))
  const { port1, port2 } = new MessageChannel()
  worker.postMessage({ port: port2, list: [1, 2] }, [port2])
  console.log(port2.detached, await once(port1, 'message'))
  port1.postMessage('to the port')
  console.log(await once(port1, 'message'))
  const buffer = new Uint8Array([1, 2, 3]).buffer
  worker.postMessage(buffer, [buffer])
  console.log(buffer.byteLength, await once(worker, 'message'))
  worker.IPC.write('bytes')
  console.log((await once(worker.IPC, 'data'))[0].toString())
  port1.close()
  worker.postMessage('end')
  console.log('exit', await once(worker, 'exit'))

  // What goes wrong in a worker is told here; the program lives on.
  for (const job of ['throws', 'rejects', 'throws text', 'is not there', 'catches']) {
    const entry = job === 'is not there' ? './nowhere.js' : __filename
    const worker = new Worker(entry, { workerData: { job } })
    worker.on('message', (message) => console.log(job, message))
    worker.on('error', (error) => console.log(job, error instanceof Error ? [error.name, error.code, error.message.split(/ '|\n/)[0]] : error))
    console.log(job, 'exit', await once(worker, 'exit'))
  }

  // One that never comes back.
  const endless = new Worker(__filename, { workerData: { job: 'loops' } })
  await once(endless, 'message')
  console.log('terminated', await endless.terminate(), await endless.terminate())
  const exits = new Worker(__filename, { workerData: { job: 'exits' } })
  console.log('exit', await once(exits, 'exit'))

  // All who have a channel of the name get what one of them says.
  const fruit = new BroadcastChannel('fruit')
  const others = [1, 2].map((number) => new Worker(__filename, { workerData: { job: 'listens', number } }))
  let ready = 0
  fruit.on('message', (message) => {
    if (message === 'ready') {
      if (++ready === 2) fruit.postMessage('plum')
    } else if (/^\d/.test(message)) {
      answers.push(message)
      if (answers.length === 2) {
        console.log(answers.sort())
        fruit.close()
      }
    }
  })
  const answers = []
  new BroadcastChannel('stones').on('message', () => console.log('never')).removeAllListeners('message')
  await Promise.all(others.map((other) => once(other, 'exit')))
  console.log('done')
}

function work () {
  const { parentPort, workerData } = Worker
  const { job } = workerData
  if (job === 'talk') {
    const colour = Worker.getEnvironmentData('colour').get('of')
    parentPort.postMessage([Bare.argv.slice(2), workerData.at.href, colour, global.preloaded, Bare.Thread.self.data === workerData])
    parentPort.on('message', (message) => {
      if (message === 'end') {
        Bare.exitCode = 3
        parentPort.removeAllListeners('message')
        Bare.IPC.removeAllListeners('data')
        return
      }
      if (message instanceof ArrayBuffer) return parentPort.postMessage(message.byteLength)
      message.port.postMessage({ back: message.list })
      message.port.on('message', (text) => {
        message.port.postMessage(text + '!')
        message.port.removeAllListeners('message')
      })
    })
    Bare.IPC.on('data', (data) => Bare.IPC.write(data.toString().toUpperCase()))
  }
  if (job === 'throws') throw new RangeError('thrown')
  if (job === 'rejects') Promise.reject(new TypeError('rejected'))
  if (job === 'throws text') throw 'only a text'
  if (job === 'catches') {
    Bare.on('uncaughtException', (err) => parentPort.postMessage('caught ' + err.message))
    throw new Error('caught here')
  }
  if (job === 'loops') {
    parentPort.postMessage('begins')
    while (true);
  }
  if (job === 'exits') Bare.exit(9)
  if (job === 'listens') {
    const channel = new BroadcastChannel('fruit')
    channel.on('message', (message) => {
      if (message !== 'plum') return
      channel.postMessage(workerData.number + ' ' + message)
      channel.removeAllListeners('message')
    })
    channel.postMessage('ready')
  }
}
