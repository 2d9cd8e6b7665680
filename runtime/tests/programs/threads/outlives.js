// A thread that nobody joined keeps the process until it ends; also after `Bare.exit`.
const flags = new SharedArrayBuffer(4)
new Bare.Thread({ data: flags }, (flags) => {
  Atomics.wait(new Int32Array(flags), 0, 0)
  setTimeout(() => console.log('thread'), 100)
})
Bare.on('exit', () => {
  console.log('exit')
  Atomics.store(new Int32Array(flags), 0, 1)
  Atomics.notify(new Int32Array(flags), 0)
})
Bare.exit(4)
