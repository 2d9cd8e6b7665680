// The error of bare-fs 4.8: `CODE: words, operation "path" -> "destination"`.

module.exports = (errnos) =>
  class FileError extends Error {
    constructor(message, about = {}) {
      const { code, operation = null, path = null, destination = null, fd = null } = about
      super(`${code}: ${message}${operation === null ? '' : subject(operation, path, destination, fd)}`)
      this.code = code
      if (operation !== null) this.operation = operation
      if (path !== null) this.path = path
      if (destination !== null) this.destination = destination
      if (fd !== null) this.fd = fd
    }

    get name() {
      return 'FileError'
    }

    get errno() {
      return errnos[this.code]
    }

    get syscall() {
      return this.operation
    }

    get dest() {
      return this.destination
    }
  }

function subject(operation, path, destination, fd) {
  const arrow = destination === null || destination === undefined ? '' : ` -> ${JSON.stringify(destination)}`
  if (path !== null && path !== undefined) return `, ${operation} ${JSON.stringify(path)}${arrow}`
  return fd === null || fd === undefined ? `, ${operation}` : `, ${operation} ${fd}`
}
