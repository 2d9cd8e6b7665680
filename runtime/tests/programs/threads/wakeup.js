// not in bare: there it may be lost when it comes at once
// Woken for a while, then idle again: as soon as nothing is left to do, or when the while is over; what is still to come waits.
const flags = new SharedArrayBuffer(4)
const view = new Int32Array(flags)
const thread = new Bare.Thread({ data: flags }, (flags) => {
  const view = new Int32Array(flags)
  for (const name of ['suspend', 'wakeup', 'idle', 'resume']) Bare.on(name, (...args) => console.log(name, ...args))
  Bare.on('idle', () => {
    Atomics.add(view, 0, 1)
    Atomics.notify(view, 0)
  })
  // A thread with nothing to do ends before it is told.
  const stays = setInterval(() => {}, 1e6)
  Bare.on('suspend', () => clearInterval(stays))
  Bare.once('wakeup', () => {
    setTimeout(() => console.log('in time'), 1)
    Bare.once('wakeup', () => {
      const late = setTimeout(() => console.log('never'), 1e6)
      Bare.on('resume', () => clearTimeout(late))
    })
  })
})
thread.suspend()
Atomics.wait(view, 0, 0)
thread.wakeup(1e6)
Atomics.wait(view, 0, 1)
thread.wakeup(100)
Atomics.wait(view, 0, 2)
thread.resume()
thread.join()
