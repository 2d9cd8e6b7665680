// A first-in, first-out queue in a ring whose size is a power of two and doubles when it is full.

module.exports = class Queue {
  constructor() {
    this._ring = new Array(16).fill(undefined)
    this._head = 0
    this.length = 0
  }

  push(value) {
    if (this.length === this._ring.length) this._grow()
    this._ring[(this._head + this.length++) & (this._ring.length - 1)] = value
  }

  shift() {
    if (this.length === 0) return undefined
    const value = this._ring[this._head]
    this._ring[this._head] = undefined
    this._head = (this._head + 1) & (this._ring.length - 1)
    this.length--
    return value
  }

  peek() {
    return this.length === 0 ? undefined : this._ring[this._head]
  }

  isEmpty() {
    return this.length === 0
  }

  clear() {
    this._ring = new Array(16).fill(undefined)
    this._head = this.length = 0
  }

  _grow() {
    const old = this._ring
    const ring = new Array(old.length * 2).fill(undefined)
    for (let i = 0; i < this.length; i++) ring[i] = old[(this._head + i) & (old.length - 1)]
    this._ring = ring
    this._head = 0
  }
}
