Bare.on('uncaughtException', (err) => console.log('caught', err))
Bare.on('unhandledRejection', (reason) => console.log('rejected', reason))
// One after the other: of timers that are due at once, on a busy machine, the later would run before the microtasks of the earlier.
const steps = [
  () => { throw undefined },
  () => { throw 'text' },
  () => { Promise.reject(false) },
  () => console.log('still here')
]
const next = () => {
  const step = steps.shift()
  if (steps.length > 0) setTimeout(next, 2)
  step()
}
setTimeout(next, 1)
