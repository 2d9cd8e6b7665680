// Told when a file or folder changes: the Watcher of bare-fs 4.8.

const EventEmitter = require('bare-events')
const { decodeName } = require('bare-fs/classes')

module.exports = (native, fail) =>
  class Watcher extends EventEmitter {
    constructor(path, opts, onchange) {
      if (typeof opts === 'function') {
        onchange = opts
        opts = {}
      }
      const { persistent = true, recursive = false, encoding = 'utf8' } = opts || {}
      super()
      this._encoding = encoding
      this._closed = false
      try {
        this._native = native.watch(path, recursive)
      } catch (err) {
        throw fail(err)
      }
      if (!persistent) this.unref()
      if (onchange) this.on('change', onchange)
      this._next()
    }

    // One batch of changes: kind, name, kind, name, … The names are null when the watched file itself has none.
    _next() {
      this._native.next((err, changes) => {
        if (this._closed) return
        if (err) {
          this.close()
          this.emit('error', fail(err))
          return
        }
        this._next()
        for (let i = 0; i < changes.length && !this._closed; i += 2) {
          const name = changes[i + 1]
          this.emit('change', changes[i], name === null ? null : decodeName(name, this._encoding))
        }
      })
    }

    close() {
      if (this._closed) return
      this._closed = true
      this._native.close()
      queueMicrotask(() => this.emit('close'))
    }

    ref() {
      this._native.ref()
      return this
    }

    unref() {
      this._native.unref()
      return this
    }

    [Symbol.asyncIterator]() {
      const changes = []
      const waiting = []
      let error = null
      let closed = false
      const settle = () => {
        while (waiting.length > 0 && (changes.length > 0 || error !== null || closed)) {
          const { resolve, reject } = waiting.shift()
          if (changes.length > 0) resolve({ done: false, value: changes.shift() })
          else if (error !== null) reject(error)
          else resolve({ done: true, value: undefined })
        }
      }
      this.on('change', (eventType, filename) => {
        changes.push({ eventType, filename })
        settle()
      })
      this.on('error', (err) => {
        error = err
        settle()
      })
      this.on('close', () => {
        closed = true
        settle()
      })
      return {
        next: () =>
          new Promise((resolve, reject) => {
            waiting.push({ resolve, reject })
            settle()
          }),
        return: async () => {
          this.close()
          return { done: true, value: undefined }
        },
        [Symbol.asyncIterator]() {
          return this
        }
      }
    }
  }
