// Asks for one thing after the other that is outside of its folder, and writes down what became of it.
const fs = require('bare-fs')
const os = require('bare-os')
const path = require('bare-path')
const Pipe = require('bare-pipe')
const tcp = require('bare-tcp')
const dgram = require('bare-dgram')
const dns = require('bare-dns')
const http = require('bare-http1')
const fetch = require('bare-fetch')
const { spawn, spawnSync } = require('bare-subprocess')
const Worker = require('bare-worker')
const Module = require('bare-module')
const { pathToFileURL } = require('bare-url')
const Corestore = require('corestore')
const Hypercore = require('hypercore')
const Hyperbee = require('hyperbee')
const Hyperdrive = require('hyperdrive')
const Localdrive = require('localdrive')

const own = __dirname
const outside = path.join(own, '../outside')
const secret = path.join(outside, 'secret')
const out = path.join(own, 'out/secret')
const results = {}

async function attempt (name, work) {
  try {
    const value = await work()
    results[name] = value === undefined ? 'done' : `done ${value}`
  } catch (error) {
    results[name] = error.code || error.message.split(':')[0]
  }
}

const until = (emitter, event) => new Promise((resolve, reject) => emitter.on('error', reject).on(event, () => resolve()))
const once = (start) => new Promise((resolve, reject) => start((error) => error ? reject(error) : resolve()))

async function all () {
  // Each operation on files, straight and through a link that is there.
  const file = (at) => ({
    readFile: () => fs.readFileSync(at),
    readLater: () => fs.promises.readFile(at),
    writeFile: () => fs.writeFileSync(at, 'x'),
    appendFile: () => fs.appendFileSync(at, 'x'),
    open: () => fs.openSync(at, 'r'),
    access: () => fs.accessSync(at),
    stat: () => fs.statSync(at),
    statfs: () => fs.statfsSync(at),
    chmod: () => fs.chmodSync(at, 0o777),
    chown: () => fs.chownSync(at, -1, -1),
    utimes: () => fs.utimesSync(at, 1, 1),
    truncate: () => fs.truncateSync(at, 0),
    realpath: () => fs.realpathSync(at),
    opendir: () => fs.readdirSync(path.dirname(at)),
    mkdir: () => fs.mkdirSync(at + '-new'),
    mkdirAll: () => fs.mkdirSync(at + '-new/a/b', { recursive: true }),
    mkdtemp: () => fs.mkdtempSync(at + '-'),
    rm: () => fs.rmSync(at),
    rmAll: () => fs.rmSync(at, { recursive: true }),
    unlink: () => fs.unlinkSync(at),
    renameFrom: () => fs.renameSync(at, path.join(own, 'renamed')),
    renameTo: () => fs.renameSync(path.join(own, 'mine'), at + '-renamed'),
    copyFrom: () => fs.copyFileSync(at, path.join(own, 'copied')),
    copyTo: () => fs.copyFileSync(path.join(own, 'mine'), at + '-copied'),
    cpFrom: () => fs.cpSync(at, path.join(own, 'copied')),
    cpTo: () => fs.cpSync(path.join(own, 'mine'), at + '-copied'),
    linkFrom: () => fs.linkSync(at, path.join(own, 'linked')),
    linkTo: () => fs.linkSync(path.join(own, 'mine'), at + '-linked'),
    symlinkFrom: () => fs.symlinkSync(at, path.join(own, 'symlinked')),
    symlinkTo: () => fs.symlinkSync(path.join(own, 'mine'), at + '-symlinked'),
    watch: () => fs.watch(at).close(),
    readStream: () => until(fs.createReadStream(at).resume(), 'close'),
    store: () => new Corestore(at + '-store').ready(),
    core: () => new Hypercore(at + '-core').ready(),
    folder: () => new Localdrive(path.dirname(at)).ready(),
    listenPipe: () => { const server = Pipe.createServer(); const done = until(server, 'listening'); server.listen(at + '.sock'); return done },
    connectPipe: () => until(new Pipe(path.join(path.dirname(at), 'socket')), 'connect')
  })
  for (const [where, at] of Object.entries({ straight: secret, link: out, up: own + '/../outside/secret', proc: '/proc/self/cwd/secret' })) {
    for (const [name, work] of Object.entries(file(at))) await attempt(`fs ${where} ${name}`, work)
  }
  for (const at of ['/proc/self/environ', '/proc/self/mem', '/proc/self/maps', '/dev/stdin', '/dev/null', '/etc/passwd', '/proc/self/fd/0']) {
    await attempt(`fs ${at}`, () => fs.openSync(at, 'r'))
  }
  await attempt('fs chdir', () => os.chdir(own))

  // A link itself is looked at, moved and removed; nothing is done with what it leads to.
  await attempt('itself lstat', () => fs.lstatSync(path.join(own, 'out')).isSymbolicLink())
  await attempt('itself readlink', () => fs.readlinkSync(path.join(own, 'out')) === outside)
  await attempt('itself rename', () => fs.renameSync(path.join(own, 'dangling'), path.join(own, 'moved')))
  await attempt('itself rm', () => fs.rmSync(path.join(own, 'moved'), { recursive: true }))
  await attempt('itself cp', () => fs.cpSync(path.join(own, 'out'), path.join(own, 'out2')))
  await attempt('itself cpAll', () => fs.cpSync(path.join(own, 'links'), path.join(own, 'links2'), { recursive: true }))

  // Modules: what it may not read is not there.
  await attempt('module require', () => require(secret + '.js'))
  await attempt('module import', () => import(pathToFileURL(secret + '.js').href))
  await attempt('module text', () => import(pathToFileURL(secret).href, { with: { type: 'text' } }))
  await attempt('module load', () => Module.load(pathToFileURL(secret + '.js')))
  await attempt('module asset', () => require.asset(secret))
  await attempt('module link', () => require('./out/secret.js'))
  await attempt('module worker', () => until(new Worker(secret + '.js'), 'exit'))

  // Descriptors that it did not open.
  const open = []
  for (let fd = 3; fd < 64; fd++) {
    for (const use of [() => fs.fstatSync(fd), () => fs.readSync(fd, Buffer.alloc(1)), () => fs.closeSync(fd)]) {
      try {
        use()
        open.push(fd)
      } catch {}
    }
  }
  await Promise.all(new Array(60).fill().map((_, at) => new Promise((resolve) => {
    const fd = 3 + at
    new Pipe(fd).on('error', resolve)
    setTimeout(() => { open.push(fd); resolve() }, 60000).unref()
  })))
  await attempt('descriptors', () => open.join())

  await attempt('net connect', () => until(tcp.createConnection(1, '127.0.0.1'), 'connect'))
  await attempt('net listen', () => { const server = tcp.createServer(); const done = until(server, 'listening'); server.listen(0, '127.0.0.1'); return done })
  await attempt('net udp', () => { const socket = dgram.createSocket(); const done = until(socket, 'listening'); socket.bind(0, '127.0.0.1'); return done })
  await attempt('net send', () => once((done) => dgram.createSocket().on('error', done).send(Buffer.from('x'), 0, 1, 53, '127.0.0.1', done)))
  await attempt('net lookup', () => once((done) => dns.lookup('localhost', done)))
  await attempt('net resolve', () => once((done) => dns.resolve('localhost', done)))
  await attempt('net reverse', () => once((done) => dns.reverse('127.0.0.1', done)))
  await attempt('net http', () => until(http.request({ host: '127.0.0.1', port: 1 }).end(), 'response'))
  await attempt('net fetch', () => fetch('http://127.0.0.1:1/'))
  await attempt('net fetchFile', () => fetch(pathToFileURL(secret).href).then((response) => response.text()))
  const pipe = path.join(own, 'p.sock')
  await attempt('own listenPipe', () => { const server = Pipe.createServer(); const done = until(server, 'listening'); server.listen(pipe); return done.then(() => { server.close() }) })

  await attempt('run spawn', () => until(spawn('true'), 'exit'))
  await attempt('run spawnSync', () => { const { error } = spawnSync('true'); if (error) throw error })
  await attempt('run kill', () => os.kill(os.ppid(), 0))
  await attempt('run killGroup', () => os.kill(0, 0))
  await attempt('run killAll', () => os.kill(-1, 0))
  await attempt('run priority', () => os.setPriority(os.ppid(), 19))
  await attempt('own kill', () => { os.kill(os.pid(), 0) })

  // What it may, works.
  const mine = path.join(own, 'deep/er')
  await attempt('own mkdir', () => { fs.mkdirSync(mine, { recursive: true }) })
  await attempt('own write', () => fs.writeFileSync(path.join(mine, 'a'), 'abc'))
  await attempt('own append', () => fs.appendFileSync(path.join(mine, 'a'), 'd'))
  await attempt('own read', () => fs.readFileSync(path.join(mine, 'a'), 'utf8'))
  await attempt('own relative', () => fs.readFileSync(path.relative(os.cwd(), path.join(mine, 'a')), 'utf8'))
  await attempt('own stat', () => fs.statSync(path.join(mine, 'a')).size)
  await attempt('own access', () => fs.accessSync(path.join(mine, 'a')))
  await attempt('own chmod', () => { fs.chmodSync(path.join(mine, 'a'), 0o600) })
  await attempt('own mode', () => (fs.statSync(path.join(mine, 'a')).mode & 0o777).toString(8))
  await attempt('own utimes', () => { fs.utimesSync(path.join(mine, 'a'), 5, 5) })
  await attempt('own mtime', () => fs.statSync(path.join(mine, 'a')).mtimeMs)
  await attempt('own truncate', () => { fs.truncateSync(path.join(mine, 'a'), 2) })
  await attempt('own realpath', () => fs.realpathSync(own + '/deep/../deep/er') === mine)
  await attempt('own linkIn', () => fs.readFileSync(path.join(own, 'in/a'), 'utf8'))
  await attempt('own copy', () => { fs.copyFileSync(path.join(mine, 'a'), path.join(mine, 'b')) })
  await attempt('own cp', () => { fs.cpSync(path.join(own, 'deep'), path.join(own, 'deep2'), { recursive: true }) })
  await attempt('own list', () => fs.readdirSync(path.join(own, 'deep2/er')).sort().join())
  await attempt('own mkdtemp', () => path.dirname(fs.mkdtempSync(own + '/t-')) === own)
  await attempt('own statfs', () => fs.statfsSync(own).bsize > 0)
  await attempt('own link', () => { fs.linkSync(path.join(mine, 'a'), path.join(mine, 'hard')) })
  await attempt('own rename', () => { fs.renameSync(path.join(mine, 'hard'), path.join(own, 'hard')) })
  await attempt('own unlink', () => { fs.unlinkSync(path.join(own, 'hard')) })
  await attempt('own rm', () => { fs.rmSync(path.join(own, 'deep2'), { recursive: true }) })
  await attempt('own rmdir', () => { fs.mkdirSync(path.join(own, 'e')); fs.rmdirSync(path.join(own, 'e')) })
  await attempt('own watch', () => new Promise((resolve, reject) => {
    const watcher = fs.watch(own, { recursive: true })
    watcher.on('error', reject).on('change', (type, name) => { if (name === 'deep/er/seen') { watcher.close(); resolve() } })
    fs.writeFileSync(path.join(mine, 'seen'), '')
  }))
  await attempt('own module', () => { fs.writeFileSync(path.join(own, 'm.js'), 'module.exports = 5'); return require('./m.js') })

  // A drive with a link becomes a folder without.
  const store = new Corestore(path.join(own, 'store'))
  const drive = new Hyperdrive(store)
  await drive.put('/a', 'a')
  await drive.symlink('/x', secret)
  await drive.symlink('/z', 'a')
  await attempt('mirror link', () => drive.mirror(new Localdrive(path.join(own, 'mirrored'))).done())
  await attempt('mirror made', () => fs.readdirSync(path.join(own, 'mirrored')).join())
  await attempt('mirror symlink', () => new Localdrive(path.join(own, 'mirrored')).symlink('/y', secret))
  await attempt('mirror follow', () => new Localdrive(own, { followLinks: true }).ready())
  await attempt('mirror through', async () => String(await new Localdrive(own).get('/out/secret')))
  const bee = new Hyperbee(store.get({ name: 'bee' }))
  await attempt('own bee', () => bee.put('a', 'b'))
  await store.close()

  fs.writeFileSync(path.join(own, 'results.json'), JSON.stringify(results))
}

all().then(() => Bare.exit(0))
