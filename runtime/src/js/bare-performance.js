// bare-performance 2.1: the web's clock, marks and measures.

const { EventTarget } = require('bare-events/web')
const hrtime = require('bare-hrtime')
const { IntervalHistogram, RecordableHistogram } = require('bare-performance/histogram')

const started = hrtime.bigint()
// Milliseconds since 1970 at which `now()` was 0.
const timeOrigin = Date.now()

const now = () => Number(hrtime.bigint() - started) / 1e6

class PerformanceEntry {
  constructor(name, entryType, startTime, duration) {
    Object.assign(this, { name, entryType, startTime, duration })
  }

  toJSON() {
    return { ...this }
  }
}

class PerformanceMark extends PerformanceEntry {
  constructor(name, { startTime = now(), detail = null } = {}) {
    if (startTime < 0) throw new TypeError('Start time must not be negative')
    super(name, 'mark', startTime, 0)
    this.detail = structuredClone(detail)
  }
}

class PerformanceMeasure extends PerformanceEntry {
  constructor(name, startTime, duration, detail = null) {
    super(name, 'measure', startTime, duration)
    this.detail = structuredClone(detail)
  }
}

let entries = []
const observers = new Set()

class PerformanceObserverEntryList {
  constructor(list) {
    this._list = list
  }

  getEntries() {
    return [...this._list]
  }

  getEntriesByName(name, type) {
    return named(this._list, name, type)
  }

  getEntriesByType(type) {
    return this._list.filter((entry) => entry.entryType === type)
  }
}

class PerformanceObserver {
  constructor(callback) {
    this._callback = callback
    this._types = new Set()
    this._records = []
    this._isQueued = false
  }

  static get supportedEntryTypes() {
    return ['mark', 'measure']
  }

  observe({ entryTypes, type, buffered = false }) {
    this._types = new Set(entryTypes || [...this._types, type])
    observers.add(this)
    if (buffered) for (const entry of entries) this._record(entry)
  }

  _record(entry) {
    if (!this._types.has(entry.entryType)) return
    this._records.push(entry)
    if (this._isQueued) return
    this._isQueued = true
    setImmediate(() => {
      this._isQueued = false
      const list = this.takeRecords()
      if (list.length > 0) this._callback(new PerformanceObserverEntryList(list), this)
    })
  }

  takeRecords() {
    const records = this._records
    this._records = []
    return records
  }

  disconnect() {
    observers.delete(this)
    this._records = []
  }
}

function add(entry) {
  entries.push(entry)
  entries.sort((a, b) => a.startTime - b.startTime)
  for (const observer of observers) observer._record(entry)
  return entry
}

function named(list, name, type) {
  return list.filter((entry) => entry.name === name && (type === undefined || entry.entryType === type))
}

// A point in time: a number, or the name of the last mark of that name.
function toTime(point, otherwise) {
  if (point === undefined || point === null) return otherwise
  if (typeof point === 'number') return point
  const mark = named(entries, String(point), 'mark').at(-1)
  if (mark === undefined) throw new SyntaxError(`The mark '${point}' does not exist`)
  return mark.startTime
}

class Performance extends EventTarget {
  get performance() {
    return this
  }

  get timeOrigin() {
    return timeOrigin
  }

  now() {
    return now()
  }

  mark(name, opts) {
    return add(new PerformanceMark(name, opts))
  }

  measure(name, start, end) {
    if (typeof start !== 'object' || start === null) {
      const from = toTime(start, 0)
      return add(new PerformanceMeasure(name, from, toTime(end, now()) - from))
    }
    const { duration, detail } = start
    const to = toTime(start.end, duration === undefined ? now() : toTime(start.start, 0) + duration)
    const from = toTime(start.start, duration === undefined ? 0 : to - duration)
    return add(new PerformanceMeasure(name, from, to - from, detail))
  }

  clearMarks(name) {
    entries = entries.filter((entry) => entry.entryType !== 'mark' || (name !== undefined && entry.name !== name))
  }

  clearMeasures(name) {
    entries = entries.filter((entry) => entry.entryType !== 'measure' || (name !== undefined && entry.name !== name))
  }

  getEntries() {
    return [...entries]
  }

  getEntriesByName(name, type) {
    return named(entries, name, type)
  }

  getEntriesByType(type) {
    return entries.filter((entry) => entry.entryType === type)
  }

  createHistogram(opts) {
    return new RecordableHistogram(opts)
  }

  monitorEventLoopDelay(opts) {
    return new IntervalHistogram(opts)
  }

  toJSON() {
    return { timeOrigin }
  }
}

const classes = { PerformanceEntry, PerformanceMark, PerformanceMeasure, PerformanceObserver, PerformanceObserverEntryList }
for (const name of Object.keys(classes)) {
  Object.defineProperty(Performance.prototype, name, { configurable: true, get: () => classes[name] })
}

module.exports = new Performance()
