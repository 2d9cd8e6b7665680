// Timers, immediates and microtasks take turns.
setImmediate(() => {
  console.log('immediate')
  setTimeout(() => {
    console.log('timeout 2')
    Promise.resolve().then(() => console.log('microtask of timeout 2'))
  }, 60)
  // Both may be due at once on a busy machine: then Bare runs no microtask between them.
  setTimeout(() => console.log('timeout 1'), 50)
  let n = 0
  const interval = setInterval(() => {
    if (++n === 3) {
      clearInterval(interval)
      console.log('interval', n)
    }
  }, 40)
})
queueMicrotask(() => console.log('microtask'))
const idle = setInterval(() => {}, 100000)
idle.unref()
clearTimeout(setTimeout(() => console.log('never'), 1))
clearImmediate(setImmediate(() => console.log('never')))
console.log('main')
