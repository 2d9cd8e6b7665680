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

const histogram = performance.createHistogram()
for (const value of [1, 2, 3, 1000, 5000, 123456, 123456, 99999999]) histogram.record(value)
console.log(histogram.count, histogram.min, histogram.max, histogram.mean, Math.round(histogram.stddev), histogram.percentile(50), histogram.percentile(99))
const small = performance.createHistogram({ lowest: 1, highest: 1000, figures: 2 })
for (const value of [5, 500, 700, 5000]) small.record(value)
console.log(small.count, small.min, small.max, small.mean, small.percentile(50), small.exceeds)
histogram.add(small)
console.log(histogram.count, histogram.exceeds, [...histogram.percentiles.keys()].at(-1))
histogram.reset()
console.log(histogram.count, histogram.max)
const delay = performance.monitorEventLoopDelay({ resolution: 1 })
console.log(delay.enable(), delay.enable(), delay.disable(), delay.disable())
