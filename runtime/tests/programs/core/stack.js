// A stack begins with the error's name and message, as V8 has it.
class Special extends Error {
  get name () {
    return 'Special'
  }
}
function f () {
  return new Special('text')
}
const lines = f().stack.split('\n')
console.log(lines[0])
console.log(lines.some((line) => /^ {4}at f \(file:.*stack\.js:8:\d+\)$/.test(line)))
const err = new Error('first')
err.stack = 'mine'
console.log(err.stack, Object.keys(err).length)
const object = {}
Error.captureStackTrace(object)
console.log(typeof object.stack)
