// not in bare: its packages are not where it looks for them
const { spawn } = require('bare-subprocess')
const process = require('bare-process')

const size = 300000

if (process.argv[2] === 'child') {
  // What a program of the guides does: stdin into something, and that into stdout.
  process.stderr.write('child\n')
  process.stdin.pipe(process.stdout)
  process.stdin.on('end', () => process.stderr.write('end\n'))
} else if (process.argv[2] === 'quiet') {
  // Who only writes does not wait for what nobody sends.
  process.stdout.write(Buffer.alloc(size, 1))
} else {
  let received = 0
  const child = spawn(process.argv[0], [__filename, 'child'])
  child.stderr.on('data', (data) => console.log(data.toString().trim()))
  child.stdout.on('data', (data) => (received += data.byteLength))
  child.on('close', (code) => {
    console.log(code, received === size)
    quiet()
  })
  child.stdin.end(Buffer.alloc(size, 7))
}

function quiet() {
  let received = 0
  const child = spawn(process.argv[0], [__filename, 'quiet'])
  child.stdout.on('data', (data) => (received += data.byteLength))
  child.on('close', (code) => console.log(code, received === size))
}
