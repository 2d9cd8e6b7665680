// What bare-fs 4.8 answers with: Stats, StatFs, Dirent and Dir.

const constants = require('bare-fs/constants')

class Stats {
  constructor(dev, mode, nlink, uid, gid, rdev, blksize, ino, size, blocks, atimeMs, mtimeMs, ctimeMs, birthtimeMs) {
    Object.assign(this, { dev, mode, nlink, uid, gid, rdev, blksize, ino, size, blocks })
    Object.assign(this, { atimeMs, mtimeMs, ctimeMs, birthtimeMs })
    this.atime = new Date(atimeMs)
    this.mtime = new Date(mtimeMs)
    this.ctime = new Date(ctimeMs)
    this.birthtime = new Date(birthtimeMs)
  }
}

class Dirent {
  constructor(parentPath, name, type) {
    this.parentPath = parentPath
    this.name = name
    this.type = type
  }
}

const kinds = [
  ['isFile', constants.S_IFREG, constants.UV_DIRENT_FILE],
  ['isDirectory', constants.S_IFDIR, constants.UV_DIRENT_DIR],
  ['isSymbolicLink', constants.S_IFLNK, constants.UV_DIRENT_LINK],
  ['isFIFO', constants.S_IFIFO, constants.UV_DIRENT_FIFO],
  ['isSocket', constants.S_IFSOCK, constants.UV_DIRENT_SOCKET],
  ['isCharacterDevice', constants.S_IFCHR, constants.UV_DIRENT_CHAR],
  ['isBlockDevice', constants.S_IFBLK, constants.UV_DIRENT_BLOCK]
]

for (const [name, mode, type] of kinds) {
  method(Stats, name, function () {
    return (this.mode & constants.S_IFMT) === mode
  })
  method(Dirent, name, function () {
    return this.type === type
  })
}

function method(type, name, value) {
  Object.defineProperty(value, 'name', { value: name })
  Object.defineProperty(type.prototype, name, { value, writable: true, configurable: true })
}

class StatFs {
  constructor(type, bsize, blocks, bfree, bavail, files, ffree, frsize) {
    Object.assign(this, { type, bsize, blocks, bfree, bavail, files, ffree, frsize })
  }
}

// The entries are read when the folder is opened; `read` hands them out.
class Dir {
  constructor(path, entries, opts = {}) {
    const { encoding = 'utf8' } = opts
    this.path = path
    this._entries = entries
    this._encoding = encoding
    this._at = 0
  }

  _next() {
    if (this._at >= this._entries.length) return null
    const name = decodeName(this._entries[this._at], this._encoding)
    const type = this._entries[this._at + 1]
    this._at += 2
    return new Dirent(this.path, name, type)
  }

  async read(cb) {
    const entry = this._next()
    if (!cb) return entry
    cb(null, entry)
  }

  readSync() {
    return this._next()
  }

  async close(cb) {
    this._entries = []
    if (cb) cb(null)
  }

  closeSync() {
    this._entries = []
  }

  [Symbol.dispose]() {
    this.closeSync()
  }

  async [Symbol.asyncDispose]() {
    await this.close()
  }

  *[Symbol.iterator]() {
    for (let entry = this._next(); entry !== null; entry = this._next()) yield entry
    this.closeSync()
  }

  async *[Symbol.asyncIterator]() {
    for (let entry = this._next(); entry !== null; entry = this._next()) yield entry
    await this.close()
  }
}

// A name comes as text, or as its bytes where they are not text.
function decodeName(name, encoding) {
  if (encoding === 'utf8' || encoding === 'utf-8') {
    return typeof name === 'string' ? name : Buffer.from(name).toString()
  }
  const bytes = Buffer.from(name)
  return encoding === 'buffer' ? bytes : bytes.toString(encoding)
}

module.exports = { Stats, StatFs, Dir, Dirent, decodeName }
