// bare-stdio 1.0: the three streams that a process starts with, made when they are first asked for.

const fs = require('bare-fs')
const tty = require('bare-tty')
const Pipe = require('bare-pipe')
const tcp = require('bare-tcp')
const io = require('pome-io')

const streams = [null, null, null]

function stream(fd) {
  if (streams[fd] !== null) return streams[fd]
  switch (io.kind(fd)) {
    case 'tty':
      streams[fd] = fd === 0 ? new tty.ReadStream(0) : new tty.WriteStream(fd)
      break
    case 'pipe':
      streams[fd] = new Pipe(fd, { eagerOpen: false })
      // Nobody waits for what the other side of an output may say.
      if (fd !== 0) streams[fd].unref()
      break
    case 'tcp':
      streams[fd] = new tcp.Socket({ eagerOpen: false }).open(fd)
      if (fd !== 0) streams[fd].unref()
      break
    default:
      streams[fd] = fd === 0 ? fs.createReadStream(null, { fd, eagerOpen: false }) : fs.createWriteStream(null, { fd, eagerOpen: false })
  }
  return streams[fd]
}

module.exports = {
  get in() {
    return stream(0)
  },
  get out() {
    return stream(1)
  },
  get err() {
    return stream(2)
  }
}
