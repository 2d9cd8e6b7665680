// Timers, immediates and microtasks take turns.
setTimeout(() => console.log('timeout 2'), 60)
setTimeout(() => {
  console.log('timeout 1')
  Promise.resolve().then(() => console.log('microtask of timeout 1'))
}, 50)
setImmediate(() => console.log('immediate'))
queueMicrotask(() => console.log('microtask'))
const idle = setInterval(() => {}, 100000)
idle.unref()
let n = 0
const interval = setInterval(() => {
  if (++n === 3) {
    clearInterval(interval)
    console.log('interval', n)
  }
}, 40)
clearTimeout(setTimeout(() => console.log('never'), 1))
clearImmediate(setImmediate(() => console.log('never')))
console.log('main')
