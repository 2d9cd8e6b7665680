// not in bare: its packages are not where it looks for them
const { spawn } = require('bare-subprocess')
const { Daemon, spawn: spawnDaemon } = require('bare-daemon')
const fs = require('bare-fs')
const os = require('bare-os')
const path = require('bare-path')

const self = Bare.argv[0]

function program (source) {
  return ['-e', source]
}

function messages () {
  const child = spawn(self, program(`
    const Parent = require('bare-subprocess/parent')
    const parent = new Parent()
    parent.on('message', (message) => {
      if (message === 'bye') return parent.disconnect()
      parent.send({ got: message, connected: parent.connected })
    })
    parent.on('disconnect', () => { Bare.exitCode = 5 })
  `), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  console.log(child.connected, child.stdio.length)
  const long = 'x'.repeat(200000)
  child.send({ a: [1, null, 'two'] })
  let sent
  child.send(long, (err) => { sent = err })
  let count = 0
  child.on('message', (message, handle) => {
    count++
    if (count === 1) console.log(message, handle)
    else {
      console.log(message.got === long)
      child.send('bye')
    }
  })
  child.on('disconnect', () => console.log('over', child.connected, child.send('late')))
  child.on('close', (code) => {
    console.log('closed', code, sent)
    bytes()
  })
}

function bytes () {
  const child = spawn(self, program(`
    Bare.IPC.on('data', (data) => Bare.IPC.end(data.toString().toUpperCase()))
  `), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'binary' })
  child.stdio[3].write('some bytes')
  child.stdio[3].on('data', (data) => console.log(data.toString())).on('end', () => child.stdio[3].end())
  child.on('close', (code) => {
    console.log('closed', code, child.connected)
    wrong()
  })
}

function wrong () {
  for (const options of [{ stdio: ['ipc', 'ipc'] }, { stdio: ['ipc'], serialization: 'advanced' }, { serialization: 'x' }]) {
    try {
      spawn(self, [], options)
    } catch (err) {
      console.log(err.name, err.code)
    }
  }
  const alone = spawn(self, program("try { new (require('bare-subprocess/parent'))() } catch (err) { console.log(err.code) }"), { stdio: 'inherit' })
  alone.on('close', daemon)
}

function daemon () {
  const file = path.join(os.tmpdir(), `daemon-${Bare.pid}`)
  const started = spawnDaemon(self, program(`require('bare-fs').writeFileSync(${JSON.stringify(file)}, 'alive')`))
  console.log(started instanceof Daemon, started.pid > 0)
  const look = setInterval(() => {
    if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== 'alive') return
    clearInterval(look)
    fs.unlinkSync(file)
    console.log('lives')
  }, 10)
}

messages()
