// fs-native-extensions 1.5: locks, attributes and holes of open files. A lock belongs to the open file and goes with it.

const files = require('pome-npm')

// `(fd, offset?, length?, { shared }?)`.
function range (offset, length, options) {
  if (typeof offset === 'object') [offset, length, options] = [0, 0, offset]
  else if (typeof length === 'object') [length, options] = [0, length]
  const { shared = false } = options || {}
  return [offset || 0, length || 0, shared !== true]
}

exports.tryLock = function tryLock (fd, offset = 0, length = 0, options = {}) {
  return files.tryLock(fd, ...range(offset, length, options))
}

exports.waitForLock = async function waitForLock (fd, offset = 0, length = 0, options = {}) {
  await files.lockLater(fd, ...range(offset, length, options))
}

exports.waitForLockSync = function waitForLockSync (fd, offset = 0, length = 0, options = {}) {
  files.lock(fd, ...range(offset, length, options))
}

// A lock that is there is changed in one step.
exports.tryDowngradeLock = (fd, offset = 0, length = 0) => files.tryLock(fd, offset, length, false)
exports.waitForDowngradeLock = async (fd, offset = 0, length = 0) => { await files.lockLater(fd, offset, length, false) }
exports.waitForDowngradeLockSync = (fd, offset = 0, length = 0) => files.lock(fd, offset, length, false)
exports.tryUpgradeLock = (fd, offset = 0, length = 0) => files.tryLock(fd, offset, length, true)
exports.waitForUpgradeLock = async (fd, offset = 0, length = 0) => { await files.lockLater(fd, offset, length, true) }
exports.waitForUpgradeLockSync = (fd, offset = 0, length = 0) => files.lock(fd, offset, length, true)

exports.unlock = function unlock (fd, offset = 0, length = 0) {
  files.unlock(fd, offset, length)
}

// Files are sparse here without being told.
exports.sparse = async function sparse () {}
exports.sparseSync = function sparseSync () {}

exports.trimSync = (fd, offset, length) => files.trim(fd, offset, length)
exports.trim = async (fd, offset, length) => files.trim(fd, offset, length)

exports.swapSync = (from, to) => files.swap(from, to)
exports.swap = async (from, to) => files.swap(from, to)

exports.getAttrSync = (fd, name) => files.getAttribute(fd, name)
exports.getAttr = async (fd, name) => files.getAttribute(fd, name)

exports.setAttrSync = function setAttrSync (fd, name, value, encoding) {
  files.setAttribute(fd, name, typeof value === 'string' ? Buffer.from(value, encoding) : value)
}

exports.setAttr = async (fd, name, value, encoding) => exports.setAttrSync(fd, name, value, encoding)

exports.removeAttrSync = (fd, name) => files.removeAttribute(fd, name)
exports.removeAttr = async (fd, name) => files.removeAttribute(fd, name)

exports.listAttrsSync = (fd) => files.listAttributes(fd)
exports.listAttrs = async (fd) => files.listAttributes(fd)
