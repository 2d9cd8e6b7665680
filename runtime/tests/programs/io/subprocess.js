// not in bare: its packages are not where it looks for them
const { spawn, spawnSync } = require('bare-subprocess')

const { status, signal, stdout, stderr } = spawnSync('sh', ['-c', 'echo out; echo err >&2; exit 3'])
console.log(status, signal, stdout.toString(), stderr.toString())
console.log(spawnSync('cat', { input: Buffer.from('abc') }).stdout.toString())
console.log(spawnSync('sh', ['-c', 'kill -TERM $$']).signal)
console.log(spawnSync('echo', ['$VAR'], { shell: true, env: { VAR: 'value' } }).stdout.toString())
console.log(spawnSync('/nope').error.code, spawnSync('/nope').status)
console.log(spawnSync('pwd', { cwd: '/' }).stdout.toString().trim())

try {
  spawn('/nope')
} catch (err) {
  console.log(err.code, err.message)
}

const cat = spawn('cat')
const chunks = []
cat.stdout.on('data', (data) => chunks.push(data))
cat
  .on('exit', (code, signal) => console.log('exit', code, signal, cat.exitCode))
  .on('close', () => {
    console.log(Buffer.concat(chunks).toString(), cat.pid > 0, cat.spawnfile)
    killed()
  })
cat.stdin.write('to the ')
cat.stdin.end('child')

function killed() {
  const sleep = spawn('sleep', ['60'], { stdio: 'ignore' })
  sleep.on('exit', (code, signal) => {
    console.log('exit', code, signal, sleep.killed, sleep.signalCode, sleep.stdio)
    inherited()
  })
  sleep.kill('SIGKILL')
  try {
    sleep.kill('SIGNOTHING')
  } catch (err) {
    console.log(err.name, err.code)
  }
}

function inherited() {
  const child = spawn('echo', ['inherited'], { stdio: ['ignore', 'inherit', 'inherit'] })
  child.on('exit', (code) => {
    console.log(code)
    // One that is unref'd keeps no program alive.
    spawn('sleep', ['1'], { stdio: 'ignore' }).unref()
  })
}
