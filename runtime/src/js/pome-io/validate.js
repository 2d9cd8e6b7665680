// Checks of arguments that the modules over descriptors share; `errors` is the class of the module's own errors.

exports.integer = function integer(errors, value, name, min, max) {
  if (typeof value !== 'number') throw errors.INVALID_ARGUMENT(`${name} must be a number, got ${typeof value}`)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw errors.INVALID_ARGUMENT(`${name} must be an integer between ${min} and ${max}, got ${value}`)
  }
}

exports.descriptor = function descriptor(errors, fd) {
  if (typeof fd !== 'number') throw errors.INVALID_FD(`File descriptor must be a number, got ${typeof fd}`)
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff) {
    throw errors.INVALID_FD(`File descriptor must be an integer between 0 and ${0x7fffffff}, got ${fd}`)
  }
}

exports.port = function port(errors, value) {
  if (typeof value !== 'number') throw errors.INVALID_PORT(`Port must be a number, got ${typeof value}`)
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw errors.INVALID_PORT(`Port must be an integer between 0 and 65535, got ${value}`)
  }
}
