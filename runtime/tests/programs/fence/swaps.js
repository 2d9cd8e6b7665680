// Makes a path lead out of its folder after it was allowed and before it is used, by swapping two folders: `there` has a file of its own, `trap` a link of
// the same name that leads outside. Whatever it gets hold of, it writes down.
const fs = require('bare-fs')
const path = require('bare-path')
const Corestore = require('corestore')

const own = __dirname
const at = path.join(own, 'there/file')
const rounds = 300
const gets = {}
const is = (text) => typeof text === 'string' && text.includes('theirs')

function move (from, to) {
  let isThere = false
  while (true) {
    try {
      if (isThere) fs.rmSync(path.join(own, to), { recursive: true, force: true })
      return fs.renameSync(path.join(own, from), path.join(own, to))
    } catch (error) {
      // The call that is under way has made it anew, or something in it while it was removed.
      if (error.code !== 'ENOTEMPTY') throw error
      isThere = true
    }
  }
}

function swap () {
  move('there', 'spare')
  move('trap', 'there')
}

function swapBack () {
  move('there', 'trap')
  move('spare', 'there')
}

const copied = path.join(own, 'copied')

// Each begins while the path is its own, and goes on when it is not.
const calls = {
  readFile: async () => is(await fs.promises.readFile(at, 'utf8')),
  open: async () => {
    const handle = await fs.promises.open(at, 'r')
    const fd = handle.fd
    const bytes = Buffer.alloc(64)
    const length = fs.readSync(fd, bytes)
    await handle.close()
    return is(bytes.toString('utf8', 0, length))
  },
  copyFile: async () => {
    await fs.promises.copyFile(at, copied)
    return is(fs.readFileSync(copied, 'utf8'))
  },
  writeFile: async () => { await fs.promises.writeFile(at, 'ours') },
  appendFile: async () => { await fs.promises.appendFile(at, '') },
  chmod: async () => { await fs.promises.chmod(at, 0o640) },
  utimes: async () => { await fs.promises.utimes(at, 7, 7) },
  stat: async () => (await fs.promises.stat(at)).size === 'theirs, and longer'.length,
  access: async () => { await fs.promises.access(at) },
  // What is in a folder that a link leads to.
  readdir: async () => (await fs.promises.readdir(path.join(own, 'there/folder'))).includes('secret'),
  mkdir: async () => { await fs.promises.mkdir(path.join(own, 'there/folder/made/deep'), { recursive: true }) },
  rm: async () => { await fs.promises.rm(path.join(own, 'there/folder/secret'), { force: true }) },
  rename: async () => { await fs.promises.rename(path.join(own, 'there/folder/secret'), path.join(own, 'taken')) },
  link: async () => {
    await fs.promises.link(path.join(own, 'there/folder/secret'), path.join(own, 'taken'))
    return is(fs.readFileSync(path.join(own, 'taken'), 'utf8'))
  },
  // It is made where the folder was, wherever that is by now.
  store: async () => {
    const store = new Corestore(path.join(own, 'there/folder/store'))
    await store.ready()
    await store.close()
  },
  cp: async () => {
    await fs.promises.cp(path.join(own, 'there/folder'), copied + '-all', { recursive: true })
    return fs.existsSync(path.join(copied + '-all', 'secret'))
  }
}

async function all () {
  for (const [name, call] of Object.entries(calls)) {
    gets[name] = 0
    for (let round = 0; round < rounds; round++) {
      const under = call()
      // It asks a few turns after it was called.
      for (let turns = name === 'store' ? round % 8 : 0; turns > 0; turns--) await null
      swap()
      try {
        if (await under) gets[name]++
      } catch {}
      swapBack()
      fs.rmSync(copied + '-all', { recursive: true, force: true })
      fs.rmSync(path.join(own, 'taken'), { force: true })
    }
  }
  fs.writeFileSync(path.join(own, 'results.json'), JSON.stringify(gets))
}

all().then(() => Bare.exit(0))
