// bare-os 3.9: the machine, the process, the user.

const constants = require('bare-os/constants')
const errors = require('pome-io/errors')('OSError', ['UNKNOWN_SIGNAL', 'TITLE_OVERFLOW'])

exports.constants = constants
exports.errors = errors
exports.EOL = '\n'
exports.devNull = '/dev/null'

// Bare has functions for what does not change.
for (const name of ['type', 'version', 'release', 'machine']) exports[name] = () => native[name]
exports.platform = () => Bare.platform
exports.arch = () => Bare.arch
exports.endianness = () => (native.isLittleEndian ? 'LE' : 'BE')

const plain =
  'execPath pid ppid cwd tmpdir homedir hostname availableParallelism resourceUsage freemem totalmem availableMemory ' +
  'constrainedMemory cpus getProcessTitle getEnvKeys'
for (const name of plain.split(' ')) exports[name] = () => native[name]()

exports.uptime = () => native.uptime()[0]
exports.loadavg = () => native.loadavg()

exports.chdir = function chdir(dir) {
  string(dir, 'Directory')
  native.chdir(dir)
}

exports.userInfo = function userInfo(uid) {
  if (uid !== undefined) integer(uid, 'User ID')
  return native.userInfo(uid)
}

exports.groupInfo = function groupInfo(gid) {
  if (gid !== undefined) integer(gid, 'Group ID')
  return native.groupInfo(gid)
}

exports.networkInterfaces = function networkInterfaces() {
  const interfaces = {}
  for (const { name, address, netmask, family, cidr, mac, internal, scopeid } of native.networkInterfaces()) {
    const row = { address, netmask, family, cidr, mac, internal }
    if (scopeid !== undefined) row.scopeid = scopeid
    if (!Object.hasOwn(interfaces, name)) interfaces[name] = []
    interfaces[name].push(row)
  }
  return interfaces
}

exports.kill = function kill(pid, signal = constants.signals.SIGTERM) {
  integer(pid, 'Process ID')
  if (typeof signal !== 'string') integer(signal, 'Signal')
  else if (!Object.hasOwn(constants.signals, signal)) throw errors.UNKNOWN_SIGNAL('Unknown signal: ' + signal)
  else signal = constants.signals[signal]
  native.kill(pid, signal)
}

for (const name of ['cpuUsage', 'threadCpuUsage']) {
  exports[name] = (previous) => {
    const { user, system } = native[name]()
    return previous ? { user: user - previous.user, system: system - previous.system } : { user, system }
  }
}

exports.memoryUsage = function memoryUsage() {
  const { heapTotal = 0, heapUsed = 0, external = 0 } = native.heap ? native.heap() : {}
  return { rss: native.rss(), heapTotal, heapUsed, external }
}

exports.setProcessTitle = function setProcessTitle(title) {
  title = String(title)
  if (title.length >= 256) throw errors.TITLE_OVERFLOW('Process title is too long')
  native.setProcessTitle(title)
}

exports.getPriority = function getPriority(pid = 0) {
  integer(pid, 'Process ID')
  return native.getPriority(pid)
}

exports.setPriority = function setPriority(pid, priority) {
  if (priority === undefined) [pid, priority] = [0, pid]
  integer(pid, 'Process ID')
  integer(priority, 'Priority')
  native.setPriority(pid, priority)
}

exports.getEnv = function getEnv(name) {
  string(name, 'Name')
  return native.getEnv(name)
}

exports.hasEnv = function hasEnv(name) {
  string(name, 'Name')
  return native.getEnv(name) !== undefined
}

exports.setEnv = function setEnv(name, value) {
  string(name, 'Name')
  string(value, 'Value')
  native.setEnv(name, value)
}

exports.unsetEnv = function unsetEnv(name) {
  string(name, 'Name')
  native.unsetEnv(name)
}

function string(value, name) {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string. Received type ${typeof value} (${value})`)
}

function integer(value, name) {
  if (!Number.isInteger(value)) {
    throw new TypeError(`${name} must be an integer. Received type ${typeof value} (${value})`)
  }
}
