// not in bare: bare-repl is a package, and not installed here
const { PassThrough } = require('bare-stream')
const repl = require('bare-repl')

const input = new PassThrough()
const output = new PassThrough()
let said = ''
output.on('data', (data) => { said += data })

const server = repl.start({ prompt: '$ ', input, output })
server.context.shared = { n: 41 }
server.defineCommand('greet', { help: 'Greets', action (whom) { this.output.write(`hello ${whom}\r\n`) } })
server.defineCommand('fails', { help: 'Fails', action () { throw new Error('no') } })
server.on('exit', () => {
  const visible = said.replace(/\x1b\[[0-9;]*[A-Za-z]/g, '').split(/\r?\n/)
  for (const word of ['42', 'hello you', 'Error: no', 'Invalid REPL keyword', 'ReferenceError', "'again'", 'true', '6']) {
    console.log(word, visible.some((line) => line.includes(word)))
  }
  console.log(typeof globalThis.own, typeof globalThis.shared)
  console.log(require('repl') === repl, server.commands.exit.help)
})

const lines = ['shared.n + 1', 'var own = 3; own', 'own * 2', '.greet you', '.fails', '.nothing', 'missing', "'again'", "require('bare-path') !== undefined && typeof Buffer === 'function'", '.exit']
for (const line of lines) input.write(line + '\n')
