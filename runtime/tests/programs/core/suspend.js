for (const name of ['suspend', 'wakeup', 'idle', 'resume']) Bare.on(name, (...args) => console.log(name, ...args))
console.log(Bare.suspend(5), Bare.resume())
console.log('main')
setTimeout(() => {
  Bare.once('suspend', () => {
    setTimeout(() => {
      console.log('work goes on')
      Bare.resume()
    }, 20)
  })
  Bare.suspend()
}, 20)
