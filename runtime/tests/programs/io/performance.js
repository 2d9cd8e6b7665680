// not in bare: its packages are not where it looks for them
const performance = require('bare-performance')
const { PerformanceObserver } = performance

const observer = new PerformanceObserver((list) => {
  console.log(list.getEntries().map(({ name, entryType }) => `${entryType} ${name}`))
  observer.disconnect()
})
observer.observe({ entryTypes: ['mark', 'measure'] })

const before = performance.now()
performance.mark('a', { startTime: 10, detail: { x: 1 } })
performance.mark('b', { startTime: 25 })
const measure = performance.measure('a to b', 'a', 'b')
console.log(measure.startTime, measure.duration, measure.entryType)
console.log(performance.measure('of 5', { start: 'a', duration: 5, detail: 'd' }).duration)
console.log(performance.getEntriesByName('a')[0].detail, performance.getEntriesByType('measure').length)
performance.clearMarks('a')
performance.clearMeasures()
console.log(performance.getEntries().map(({ name }) => name))
console.log(performance.now() >= before)
try {
  performance.measure('x', 'nothing')
} catch (err) {
  console.log(err.name)
}
