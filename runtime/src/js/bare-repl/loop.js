// Lines of a program as they are typed: each is run when it is complete, and what it comes to is printed.

const PROMPT = '> '
const MORE = '... '

let lines = []

function print (value) {
  console.log(value)
}

function prompt () {
  if (native.isTerminal) native.write(lines.length > 0 ? MORE : PROMPT)
}

// An error that says no more than that there is more to come.
function isIncomplete (error, source) {
  return error instanceof SyntaxError && native.isOpen(source)
}

globalThis.require = require('bare-module').createRequire('./__repl__.cjs')

native.start((line) => {
  lines.push(line)
  const source = lines.join('\n')
  if (source.trim() === '') {
    lines = []
    return prompt()
  }
  try {
    const value = native.run(source)
    lines = []
    globalThis._ = value
    if (value !== undefined) print(value)
  } catch (error) {
    if (isIncomplete(error, source)) return prompt()
    lines = []
    globalThis._error = error
    native.error('Uncaught ' + (error instanceof Error ? error.stack : String(error)) + '\n')
  }
  prompt()
})

prompt()
