const flags = new SharedArrayBuffer(4)
const view = new Int32Array(flags)
const thread = new Bare.Thread({ data: flags }, (flags) => {
  const view = new Int32Array(flags)
  for (const name of ['suspend', 'wakeup', 'idle', 'resume']) Bare.on(name, (...args) => console.log(name, ...args))
  Bare.on('idle', () => {
    Atomics.store(view, 0, 1)
    Atomics.notify(view, 0)
  })
  // A thread with nothing to do ends before it is told.
  const stays = setInterval(() => {}, 1e6)
  Bare.on('suspend', () => {
    clearInterval(stays)
    setTimeout(() => console.log('work goes on'), 20)
  })
})
thread.suspend(3)
Atomics.wait(view, 0, 0)
thread.resume()
thread.join()
