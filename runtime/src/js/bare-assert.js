// bare-assert 1.2.

const inspect = require('bare-inspect')

class AssertionError extends Error {
  constructor({ message = null, actual, expected, operator } = {}) {
    super(message === null ? `${inspect(actual)} ${operator} ${inspect(expected)}` : message)
    this.actual = actual
    this.expected = expected
    this.operator = operator
  }

  get name() {
    return 'AssertionError'
  }

  get code() {
    return 'ASSERTION'
  }
}

function fail(caller, message, actual, expected, operator) {
  if (message instanceof Error) throw message
  const err = new AssertionError({ message, actual, expected, operator })
  if (Error.captureStackTrace) Error.captureStackTrace(err, caller)
  throw err
}

// Equal as `==` has it, and NaN to itself.
function loose(a, b) {
  return a == b || (a !== a && b !== b)
}

module.exports = exports = function assert(actual, message) {
  if (!actual) fail(assert, message, actual, true, '==')
}

exports.AssertionError = AssertionError

exports.fail = function (message = 'Failed') {
  fail(exports.fail, message, undefined, undefined, 'fail')
}

exports.ok = function ok(actual, message) {
  if (!actual) fail(ok, message, actual, true, '==')
}

exports.notOk = function notOk(actual, message) {
  if (actual) fail(notOk, message, actual, false, '==')
}

exports.equal = function equal(actual, expected, message) {
  if (!loose(actual, expected)) fail(equal, message, actual, expected, '==')
}

exports.notEqual = function notEqual(actual, expected, message) {
  if (loose(actual, expected)) fail(notEqual, message, actual, expected, '!=')
}

exports.strictEqual = function strictEqual(actual, expected, message) {
  if (!Object.is(actual, expected)) fail(strictEqual, message, actual, expected, 'strictEqual')
}

exports.notStrictEqual = function notStrictEqual(actual, expected, message) {
  if (Object.is(actual, expected)) fail(notStrictEqual, message, actual, expected, 'notStrictEqual')
}
