// bare-fs 4.8: files and folders. Every call has three forms: with a callback, without one (a promise), and `…Sync`.

const path = require('bare-path')
const { isURL, fileURLToPath } = require('bare-url')
const constants = require('bare-fs/constants')
const FileError = require('bare-fs/error')(native.errnos)
const { Stats, StatFs, Dir, Dirent, decodeName } = require('bare-fs/classes')

// A native error with what it was about, as the error of this module. What the caller did wrong stays a TypeError.
function fail(err) {
  return err && err.operation ? new FileError(err.message, err) : err
}

// One call in its three forms. `prepare` turns the arguments into those of the native operation; `finish` makes the answer.
function define(name, prepare, finish = (value) => value, operation = name) {
  const sync = (...args) => {
    const { call, with: context } = prepare(args)
    let value
    try {
      value = native.sync(operation, ...call)
    } catch (err) {
      throw fail(err)
    }
    return finish(value, context)
  }

  const later = (...args) => {
    const last = args.length - 1
    const cb = typeof args[last] === 'function' ? args[last] : null
    if (cb !== null) args.length = last
    const promise = new Promise((resolve, reject) => {
      const { call, with: context } = prepare(args)
      native.start(
        (err, value) => {
          if (err) return reject(fail(err))
          try {
            resolve(finish(value, context))
          } catch (err) {
            reject(err)
          }
        },
        operation,
        ...call
      )
    })
    if (cb === null) return promise
    return promise.then(
      (value) => (value === undefined ? cb(null) : cb(null, value)),
      (err) => cb(err)
    )
  }

  named(later, name)
  named(sync, name + 'Sync')
  exports[name] = later
  exports[name + 'Sync'] = sync
}

function named(fn, name) {
  Object.defineProperty(fn, 'name', { value: name })
}

function toPath(value) {
  if (typeof value !== 'string') value = isURL(value) ? fileURLToPath(value) : value.toString()
  return path.toNamespacedPath(value)
}

function toMode(mode) {
  return typeof mode === 'string' ? parseInt(mode, 8) : mode
}

function toFlags(flags) {
  if (typeof flags !== 'string') return flags
  const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_EXCL, O_SYNC } = constants
  const plus = flags.includes('+')
  const letters = [...flags.replace('+', '')].sort().join('')
  const open = {
    r: plus ? O_RDWR : O_RDONLY,
    rs: (plus ? O_RDWR : O_RDONLY) | O_SYNC,
    w: O_TRUNC | O_CREAT | (plus ? O_RDWR : O_WRONLY),
    wx: O_TRUNC | O_CREAT | O_EXCL | (plus ? O_RDWR : O_WRONLY),
    a: O_APPEND | O_CREAT | (plus ? O_RDWR : O_WRONLY),
    ax: O_APPEND | O_CREAT | O_EXCL | (plus ? O_RDWR : O_WRONLY),
    as: O_APPEND | O_CREAT | O_SYNC | (plus ? O_RDWR : O_WRONLY)
  }
  return Object.hasOwn(open, letters) ? open[letters] : 0
}

function toSeconds(time) {
  return typeof time === 'number' ? time : time.getTime() / 1000
}

function toOptions(opts) {
  if (typeof opts === 'string') return { encoding: opts }
  return opts || {}
}

function bytesOf(view) {
  if (view instanceof Uint8Array) return view
  if (ArrayBuffer.isView(view)) return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  return new Uint8Array(view)
}

const onPath = (...rest) => ([file, ...args]) => ({
  call: [toPath(file), ...rest.map((convert, i) => convert(args[i]))]
})
const onFd = (...rest) => ([fd, ...args]) => ({ call: [fd, ...rest.map((convert, i) => convert(args[i]))] })
const onPaths = ([from, to]) => ({ call: [toPath(from), toPath(to)] })
const number = (value) => value
const orZero = (value) => value || 0
const stats = (numbers) => new Stats(...numbers)

define('open', ([file, flags = 'r', mode = 0o666]) => ({ call: [toPath(file), toFlags(flags), toMode(mode)] }))
define('close', onFd())
define('access', onPath(orZero))
define('stat', onPath(), stats)
define('lstat', onPath(), stats)
define('fstat', onFd(), stats)
define('statfs', onPath(), (numbers) => new StatFs(...numbers))
define('truncate', onPath(orZero))
define('ftruncate', onFd(orZero))
define('chmod', onPath(toMode))
define('fchmod', onFd(toMode))
define('chown', onPath(number, number))
define('lchown', onPath(number, number))
define('fchown', onFd(number, number))
define('utimes', onPath(toSeconds, toSeconds))
define('lutimes', onPath(toSeconds, toSeconds))
define('futimes', onFd(toSeconds, toSeconds))
define('fsync', onFd())
define('fdatasync', onFd())
define('link', onPaths)
define('rename', onPaths)
define('unlink', onPath())
define('rmdir', onPath())
define('symlink', ([target, file]) => ({ call: [typeof target === 'string' ? target : toPath(target), toPath(file)] }))
define('copyFile', ([from, to, mode = 0]) => ({ call: [toPath(from), toPath(to), mode] }))
define('mkdtemp', onPath())

define('mkdir', ([file, opts]) => {
  const { mode = 0o777, recursive = false } = typeof opts === 'number' ? { mode: opts } : opts || {}
  return { call: [toPath(file), typeof mode === 'number' ? mode : 0o777, Boolean(recursive)] }
})

define('rm', ([file, opts]) => {
  const { recursive = false, force = false } = opts || {}
  return { call: [toPath(file), Boolean(recursive), Boolean(force)] }
})

define('cp', ([from, to, opts]) => ({ call: [toPath(from), toPath(to), (opts || {}).recursive === true] }))

for (const name of ['realpath', 'readlink']) {
  define(
    name,
    ([file, opts]) => ({ call: [toPath(file)], with: toOptions(opts).encoding || 'utf8' }),
    decodeName
  )
}

function toReading([fd, buffer, offset, length, position]) {
  if (typeof offset !== 'number') offset = 0
  if (typeof length !== 'number') length = buffer.byteLength - offset
  if (typeof position !== 'number') position = -1
  const target = bytesOf(buffer).subarray(offset, offset + length)
  return { call: [fd, target.byteLength, position], with: target }
}

function intoBuffer(data, target) {
  target.set(new Uint8Array(data))
  return data.byteLength
}

define('read', toReading, intoBuffer)

define(
  'readv',
  ([fd, buffers, position = -1]) => {
    const length = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0)
    return { call: [fd, length, position], with: buffers }
  },
  (data, buffers) => {
    let at = 0
    for (const buffer of buffers) {
      const part = new Uint8Array(data, at, Math.min(buffer.byteLength, data.byteLength - at))
      bytesOf(buffer).set(part)
      at += part.byteLength
    }
    return data.byteLength
  },
  'read'
)

define('write', ([fd, data, offset, length, position]) => {
  if (typeof data === 'string') {
    // write(fd, string[, position[, encoding]])
    let [encoding, place] = [length, offset]
    if (typeof place === 'string') [encoding, place] = [place, -1]
    return { call: [fd, Buffer.from(data, encoding), typeof place === 'number' ? place : -1] }
  }
  if (typeof offset !== 'number') offset = 0
  if (typeof length !== 'number') length = data.byteLength - offset
  const part = bytesOf(data).subarray(offset, offset + length)
  return { call: [fd, part, typeof position === 'number' ? position : -1] }
})

define(
  'writev',
  ([fd, buffers, position]) => ({
    call: [fd, Buffer.concat(buffers.map(bytesOf)), typeof position === 'number' ? position : -1]
  }),
  undefined,
  'write'
)

define(
  'readFile',
  ([file, opts]) => {
    const { encoding = 'buffer', flag = 'r' } = toOptions(opts)
    return { call: [toPath(file), toFlags(flag)], with: encoding || 'buffer' }
  },
  (data, encoding) => {
    const buffer = Buffer.from(data)
    return encoding === 'buffer' ? buffer : buffer.toString(encoding)
  }
)

function toWriting([file, data, opts], flag) {
  opts = toOptions(opts)
  const bytes = typeof data === 'string' ? Buffer.from(data, opts.encoding) : bytesOf(data)
  return { call: [toPath(file), bytes, toFlags(opts.flag || flag), toMode(opts.mode || 0o666)] }
}

define('writeFile', (args) => toWriting(args, 'w'))
define('appendFile', (args) => toWriting(args, 'a'), undefined, 'writeFile')

for (const name of ['writeFileSync', 'appendFileSync']) {
  const write = exports[name]
  exports[name] = (...args) => void write(...args)
  named(exports[name], name)
}

exports.exists = async function exists(file, cb) {
  let there = true
  try {
    await exports.access(file)
  } catch {
    there = false
  }
  return cb ? cb(null, there) : there
}

exports.existsSync = function existsSync(file) {
  try {
    exports.accessSync(file)
  } catch {
    return false
  }
  return true
}

define(
  'opendir',
  ([file, opts]) => {
    file = toPath(file)
    return { call: [file], with: [file, toOptions(opts)] }
  },
  (entries, [file, opts]) => new Dir(file, entries, opts)
)

// One folder at a time; `list` is `opendir` in one of its forms, so that both forms walk alike.
function* walk(root, opts) {
  const { encoding = 'utf8', withFileTypes = false, recursive = false } = opts
  const result = []
  const queue = [root]
  while (queue.length > 0) {
    const folder = queue.pop()
    const dir = yield folder
    for (const entry of dir) {
      const inside = path.join(entry.parentPath, entry.name.toString())
      if (withFileTypes) result.push(entry)
      else if (encoding === 'buffer') result.push(folder === root ? entry.name : Buffer.from(path.relative(root, inside)))
      else result.push(path.relative(root, inside))
      if (recursive && entry.isDirectory()) queue.push(inside)
    }
  }
  return result
}

exports.readdir = function readdir(file, opts, cb) {
  if (typeof opts === 'function') [opts, cb] = [{}, opts]
  const listing = (async () => {
    opts = toOptions(opts)
    const steps = walk(toPath(file), opts)
    let step = steps.next()
    while (!step.done) step = steps.next(await exports.opendir(step.value, opts))
    return step.value
  })()
  return cb ? listing.then((names) => cb(null, names), cb) : listing
}

exports.readdirSync = function readdirSync(file, opts) {
  opts = toOptions(opts)
  const steps = walk(toPath(file), opts)
  let step = steps.next()
  while (!step.done) step = steps.next(exports.opendirSync(step.value, opts))
  return step.value
}

const { ReadStream, WriteStream } = require('bare-fs/streams')(exports)
const Watcher = require('bare-fs/watcher')(native, fail)

exports.watch = function watch(file, opts, cb) {
  if (typeof opts === 'function') [opts, cb] = [{}, opts]
  return new Watcher(toPath(file), toOptions(opts), cb)
}

exports.createReadStream = (file, opts) => new ReadStream(file, opts)
exports.createWriteStream = (file, opts) => new WriteStream(file, opts)

Object.assign(exports, { constants, Stats, StatFs, Dir, Dirent, Watcher, ReadStream, WriteStream })
exports.promises = require('bare-fs/file-handle')(exports)
