// not in bare: its packages are not where it looks for them
const fs = require('bare-fs')
const os = require('bare-os')
const path = require('bare-path')

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'pome-fs-'))
const at = (...names) => path.join(root, ...names)
const shown = (text) => String(text).replaceAll(root, 'ROOT').replace(/ \d+$/, ' FD')

function attempt(name, run) {
  try {
    console.log(name, run())
  } catch (err) {
    console.log(name, err.name, err.code, shown(err.message), err.errno, err.syscall)
  }
}

async function main() {
  // The three forms of a call.
  console.log(fs.writeFileSync(at('a'), 'héllo'), fs.readFileSync(at('a'), 'utf8'), fs.readFileSync(at('a')).byteLength)
  console.log(await fs.writeFile(at('b'), Buffer.from('abcdef')), await fs.readFile(at('b'), { encoding: 'hex' }))
  await new Promise((resolve) =>
    fs.readFile(at('b'), (err, data) => {
      console.log(err, data.toString())
      resolve()
    })
  )
  await new Promise((resolve) =>
    fs.readFile(at('missing'), (err, data) => {
      console.log(err.code, data)
      resolve()
    })
  )
  await new Promise((resolve) =>
    fs.exists(at('missing'), (err, there) => {
      console.log(err, there)
      resolve()
    })
  )
  await fs.promises.appendFile(at('b'), '!')
  console.log(await fs.promises.readFile(at('b'), 'utf8'), fs.existsSync(at('b')), fs.existsSync(at('nope')))

  // By number.
  const fd = fs.openSync(at('c'), 'w+')
  console.log(fs.writeSync(fd, Buffer.from('0123456789'), 2, 5, 0), fs.writeSync(fd, 'xy', 5))
  console.log(await fs.writev(fd, [Buffer.from('Q'), Buffer.from('R')], 0))
  const buffer = Buffer.alloc(10)
  console.log(fs.readSync(fd, buffer, 1, 4, 0), buffer.toString('latin1').replaceAll('\0', '.'))
  const parts = [Buffer.alloc(3), Buffer.alloc(8)]
  console.log(await fs.readv(fd, parts, 0), parts.map(String).join('|').replaceAll('\0', '.'))
  fs.ftruncateSync(fd, 3)
  console.log(fs.fstatSync(fd).size, (await fs.fstat(fd)).isFile())
  fs.fsyncSync(fd)
  await fs.fdatasync(fd)
  fs.closeSync(fd)
  attempt('closed', () => fs.closeSync(fd))
  attempt('read closed', () => fs.readSync(fd, buffer))

  // Errors.
  attempt('open', () => fs.openSync(at('x', 'y')))
  attempt('mkdir', () => fs.mkdirSync(root))
  attempt('rm', () => fs.rmSync(root))
  attempt('rmdir', () => fs.rmdirSync(at('a')))
  attempt('opendir', () => fs.readdirSync(at('nope')))
  attempt('symlink', () => fs.symlinkSync('a', at('a')))
  attempt('copy', () => fs.copyFileSync(at('nope'), at('z')))
  attempt('rename', () => fs.renameSync(at('nope'), at('z')))
  attempt('stat', () => fs.statSync(at('nope')))
  await fs.unlink(at('nope')).catch((err) => console.log(err.name, err.code, shown(err.message), err.path === at('nope')))

  // Folders.
  fs.mkdirSync(at('d', 'e', 'f'), { recursive: true })
  fs.mkdirSync(at('d', 'e', 'f'), { recursive: true })
  fs.writeFileSync(at('d', 'e', 'g'), 'g')
  fs.symlinkSync('g', at('d', 'e', 'link'))
  console.log(fs.readdirSync(at('d'), { recursive: true }).sort(), fs.readlinkSync(at('d', 'e', 'link')))
  const entries = await fs.readdir(at('d', 'e'), { withFileTypes: true })
  console.log(
    entries
      .map((entry) => [entry.name, entry.isFile(), entry.isDirectory(), entry.isSymbolicLink()].join(' '))
      .sort()
  )
  const names = []
  for await (const entry of await fs.opendir(at('d', 'e'))) names.push(entry.name)
  console.log(names.sort())
  console.log(fs.lstatSync(at('d', 'e', 'link')).isSymbolicLink(), fs.statSync(at('d', 'e', 'link')).isFile())
  console.log(shown(fs.realpathSync(at('d', 'e', 'link'))) === shown(fs.realpathSync(at('d', 'e', 'g'))))
  await fs.cp(at('d'), at('copy'), { recursive: true })
  console.log(fs.readdirSync(at('copy', 'e')).sort(), fs.readlinkSync(at('copy', 'e', 'link')))
  attempt('cp', () => fs.cpSync(at('d'), at('copy2')))
  fs.rmSync(at('copy'), { recursive: true })
  fs.rmSync(at('copy'), { force: true })
  console.log(fs.existsSync(at('copy')))

  // What is known of a file.
  fs.chmodSync(at('a'), 0o640)
  fs.utimesSync(at('a'), 1000, new Date(2000500))
  const stat = fs.statSync(at('a'))
  console.log((stat.mode & 0o777).toString(8), stat.atimeMs, stat.mtimeMs, stat.mtime.toISOString(), stat.size)
  console.log(typeof fs.statfsSync(root).bsize, stat instanceof fs.Stats)

  // Streams.
  const out = fs.createWriteStream(at('big'))
  for (let i = 0; i < 100; i++) out.write(Buffer.alloc(1000, i))
  await new Promise((resolve) => out.on('close', resolve).end())
  let length = 0
  for await (const chunk of fs.createReadStream(at('big'))) length += chunk.byteLength
  console.log(length, fs.statSync(at('big')).size)
  const middle = []
  for await (const chunk of fs.createReadStream(at('big'), { start: 1999, end: 2000 })) middle.push(...chunk)
  console.log(middle)
  await new Promise((resolve) =>
    fs.createReadStream(at('nope')).on('error', (err) => {
      console.log(err.code)
      resolve()
    })
  )

  const handle = await fs.promises.open(at('h'), 'w+')
  console.log((await handle.write(Buffer.from('handle'))).bytesWritten, (await handle.stat()).size)
  await handle.close()

  fs.rmSync(root, { recursive: true })
  console.log(fs.existsSync(root))
}

main()
