Bare.on('uncaughtException', (err) => console.log('uncaughtException', err.message))
Bare.on('unhandledRejection', (reason, promise) => console.log('unhandledRejection', reason.message, promise instanceof Promise))
// One after the other: of timers that are due at once, on a busy machine, the later would run before the microtasks of the earlier.
const steps = [
  () => { throw new Error('timer') },
  () => queueMicrotask(() => { throw new Error('microtask') }),
  () => { Promise.reject(new Error('rejection')) },
  () => console.log('still here')
]
const next = () => {
  const step = steps.shift()
  if (steps.length > 0) setTimeout(next, 20)
  step()
}
setTimeout(next, 20)
