// bare-fs 4.8, `promises`: the same calls without those that a FileHandle has.

const EventEmitter = require('bare-events')

module.exports = (fs) => {
  class FileHandle extends EventEmitter {
    constructor(fd) {
      super()
      this.fd = fd
    }

    async close() {
      const fd = this.fd
      this.fd = -1
      await fs.close(fd)
      this.emit('close')
    }

    async read(buffer, ...args) {
      return { bytesRead: await fs.read(this.fd, buffer, ...args), buffer }
    }

    async readv(buffers, ...args) {
      return { bytesRead: await fs.readv(this.fd, buffers, ...args), buffers }
    }

    async write(buffer, ...args) {
      return { bytesWritten: await fs.write(this.fd, buffer, ...args), buffer }
    }

    async writev(buffers, ...args) {
      return { bytesWritten: await fs.writev(this.fd, buffers, ...args), buffers }
    }

    stat() {
      return fs.fstat(this.fd)
    }

    chmod(mode) {
      return fs.fchmod(this.fd, mode)
    }

    chown(uid, gid) {
      return fs.fchown(this.fd, uid, gid)
    }

    datasync() {
      return fs.fdatasync(this.fd)
    }

    sync() {
      return fs.fsync(this.fd)
    }

    truncate(length) {
      return fs.ftruncate(this.fd, length)
    }

    utimes(atime, mtime) {
      return fs.futimes(this.fd, atime, mtime)
    }

    createReadStream(opts) {
      return fs.createReadStream(null, { ...opts, fd: this.fd })
    }

    createWriteStream(opts) {
      return fs.createWriteStream(null, { ...opts, fd: this.fd })
    }

    async [Symbol.asyncDispose]() {
      await this.close()
    }
  }

  const promises = { constants: fs.constants }
  promises.open = async function open(file, flags, mode) {
    return new FileHandle(await fs.open(file, flags, mode))
  }
  const shared =
    'access appendFile chmod chown copyFile cp lchown lutimes link lstat mkdir mkdtemp opendir readFile readdir readlink ' +
    'realpath rename rm rmdir stat statfs truncate symlink unlink utimes watch writeFile'
  for (const name of shared.split(' ')) promises[name] = fs[name]
  return promises
}
