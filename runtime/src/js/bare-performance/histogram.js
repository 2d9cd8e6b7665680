// Histograms that keep a number of decimal figures of each value, however large it is: values that are too close to be told apart share a bucket. The
// buckets are those of HdrHistogram, so that what is read from it is the same.

const hrtime = require('bare-hrtime')

class Histogram {
  constructor(opts = {}) {
    const { lowest = 1, highest = Number.MAX_SAFE_INTEGER, figures = 3 } = opts
    if (!(lowest >= 1) || !(highest >= 2 * lowest) || !Number.isInteger(figures) || figures < 1 || figures > 5) {
      throw new RangeError('Histogram needs 1 <= lowest, 2 * lowest <= highest and 1 to 5 figures')
    }
    this._highest = highest
    this._unit = 2 ** Math.floor(Math.log2(lowest))
    // Values up to here are counted one by one, in units.
    this._fine = 2 ** Math.ceil(Math.log2(2 * 10 ** figures))
    this.reset()
  }

  reset() {
    this._count = 0
    this._exceeds = 0
    this._min = Infinity
    this._max = 0
    // How many values there were, by the lowest value of the bucket.
    this._buckets = new Map()
  }

  // How many values share the bucket of `value`.
  _width(value) {
    let width = this._unit
    while (value >= width * this._fine) width *= 2
    return width
  }

  _lowest(value) {
    const width = this._width(value)
    return Math.floor(value / width) * width
  }

  _highestOf(value) {
    return this._lowest(value) + this._width(value) - 1
  }

  _median(value) {
    return this._lowest(value) + Math.floor(this._width(value) / 2)
  }

  _record(value, count) {
    if (typeof value !== 'number' || !(value >= 0) || value > this._highest) return false
    value = Math.floor(value)
    const bucket = this._lowest(value)
    this._buckets.set(bucket, (this._buckets.get(bucket) || 0) + count)
    if (value < this._min) this._min = value
    if (value > this._max) this._max = value
    return true
  }

  _sorted() {
    return [...this._buckets].sort(([a], [b]) => a - b)
  }

  get count() {
    return this._count
  }

  get exceeds() {
    return this._exceeds
  }

  get min() {
    if (this._count === 0) return Number.MAX_SAFE_INTEGER
    return this._lowest(this._min)
  }

  get max() {
    return this._count === 0 ? 0 : this._highestOf(this._max)
  }

  get mean() {
    let sum = 0
    for (const [bucket, count] of this._buckets) sum += this._median(bucket) * count
    return this._count === 0 ? 0 : sum / this._count
  }

  get stddev() {
    const { mean } = this
    let sum = 0
    for (const [bucket, count] of this._buckets) sum += (this._median(bucket) - mean) ** 2 * count
    return this._count === 0 ? 0 : Math.sqrt(sum / this._count)
  }

  percentile(percentile) {
    const wanted = Math.max(1, Math.floor((Math.min(percentile, 100) / 100) * this._count + 0.5))
    let seen = 0
    for (const [bucket, count] of this._sorted()) {
      seen += count
      if (seen >= wanted) return this._highestOf(bucket)
    }
    return 0
  }

  // Each step is half as far from 100 as the one before.
  get percentiles() {
    const all = new Map()
    for (let left = 100; ; left /= 2) {
      const value = this.percentile(100 - left)
      all.set(100 - left, this._lowest(value))
      if (value >= this.max) break
    }
    all.set(100, this._lowest(this.max))
    return all
  }
}

class RecordableHistogram extends Histogram {
  record(value) {
    if (this._record(value, 1)) this._count++
    else this._exceeds++
  }

  add(other) {
    this._count += other._count
    this._exceeds += other._exceeds
    for (const [bucket, count] of other._buckets) this._record(bucket, count)
    if (other._count > 0) {
      this._min = Math.min(this._min, other._min)
      this._max = Math.max(this._max, other._max)
    }
  }
}

const HOUR = 3_600_000_000_000

// How much later than it should a timer fires, in nanoseconds.
class IntervalHistogram extends RecordableHistogram {
  constructor(opts = {}) {
    super({ lowest: 1, highest: HOUR })
    this._resolution = opts.resolution === undefined ? 10 : opts.resolution
    this._timer = null
    this._before = 0
  }

  enable() {
    if (this._timer !== null) return false
    this._before = clock()
    this._timer = setInterval(() => {
      const time = clock()
      const late = time - this._before - this._resolution * 1e6
      this._before = time
      if (late > 0) this.record(late)
    }, this._resolution)
    this._timer.unref()
    return true
  }

  disable() {
    if (this._timer === null) return false
    clearInterval(this._timer)
    this._timer = null
    return true
  }

  [Symbol.dispose]() {
    this.disable()
  }
}

function clock() {
  return Number(hrtime.bigint())
}

module.exports = { RecordableHistogram, IntervalHistogram }
