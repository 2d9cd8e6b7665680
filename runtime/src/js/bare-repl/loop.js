// Lines of a program as they are typed: each is run when it is complete, and what it comes to is printed.

const Signal = require('bare-signals')

const PROMPT = '> '
const MORE = '... '

let lines = []

// Lines that came while something was awaited.
let waiting = null
// How often Ctrl-C was pressed with nothing to end.
let idleBreaks = 0

function prompt () {
  if (native.isTerminal) native.write(lines.length > 0 ? MORE : PROMPT)
}

// An error that says no more than that there is more to come.
function isIncomplete (error, source) {
  return error instanceof SyntaxError && native.isOpen(source)
}

globalThis.require = require('bare-module').createRequire('./__repl__.cjs')

function show (value) {
  globalThis._ = value
  if (value !== undefined) console.log(value)
}

function fail (error) {
  globalThis._error = error
  native.error('Uncaught ' + (error instanceof Error ? error.stack : String(error)) + '\n')
}

function take (line) {
  if (waiting !== null) return waiting.push(line)
  idleBreaks = 0
  lines.push(line)
  const source = lines.join('\n')
  if (source.trim() === '') lines = []
  else if (source.trim() === '.exit') Bare.exit()
  else run(source)
  if (waiting === null) prompt()
}

function run (source) {
  try {
    const value = native.run(source)
    lines = []
    show(value)
  } catch (error) {
    if (error instanceof SyntaxError && /\bawait\b/.test(source) && runAwaiting(source)) return
    if (isIncomplete(error, source)) return
    lines = []
    wasBroken = error instanceof Error && error.code === 'INTERRUPTED'
    fail(error)
  }
}

// The lines after it wait until it has come to something.
function runAwaiting (source) {
  let promise
  try {
    promise = native.runAwaiting(source)
  } catch {
    return false
  }
  lines = []
  waiting = []
  const mine = waiting
  promise.then(({ value }) => waiting === mine && show(value), (error) => waiting === mine && fail(error)).then(() => {
    if (waiting === mine) goOn()
  })
  return true
}

function goOn () {
  const late = waiting
  waiting = null
  prompt()
  for (const line of late) take(line)
}

let wasBroken = false

// Ctrl-C ends what is being run or awaited; else it forgets the lines so far; twice, it ends the program.
native.listen()
new Signal('SIGINT').on('signal', () => {
  native.calm()
  if (wasBroken) {
    wasBroken = false
    return
  }
  if (waiting !== null) {
    native.write('\n')
    return goOn()
  }
  if (lines.length === 0 && ++idleBreaks === 2) Bare.exit()
  lines = []
  native.write('\n')
  prompt()
}).start().unref()

native.start(take)

prompt()
