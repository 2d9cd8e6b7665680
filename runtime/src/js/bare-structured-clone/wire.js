// Values on their way to another thread. The engine copies plain things from heap to heap; what it does not know goes as a mark: an empty object in its
// place, and beside the value a list of what each of them stands for.
//
//   [value]  or  [value, [[place, kind, what], …]]

const Buffer = require('bare-buffer')
const { Copier, DataCloneError, ERRORS, Interfaces, pack, symbols } = require('bare-structured-clone/copier')

class Sender extends Copier {
  constructor(interfaces) {
    super({ interfaces: new Interfaces(interfaces) })
    this.marks = []
  }

  mark(object, kind, what) {
    const mark = [{}, kind, what]
    this.marks.push(mark)
    this.keep(object, mark[0])
    return mark
  }

  copyURL(url) {
    return this.mark(url, 'url', url.href)[0]
  }

  copyError(error) {
    const what = { name: error.name in ERRORS ? error.name : 'Error', message: String(error.message) }
    const [place] = this.mark(error, 'error', what)
    what.stack = this.copy(error.stack)
    if ('cause' in error) what.cause = this.copy(error.cause)
    if (what.name === 'AggregateError') what.errors = this.copy(error.errors)
    return place
  }

  view(view, type, buffer, byteOffset, length) {
    if (type === Buffer) return this.mark(view, 'buffer', new Uint8Array(buffer, byteOffset, length))[0]
    if (type === DataView) return this.mark(view, 'view', [buffer, byteOffset, length])[0]
    return super.view(view, type, buffer, byteOffset, length)
  }

  carry(object, type, data, transferred) {
    return this.mark(object, 'carried', [this.interfaces.list.indexOf(type), data, transferred])[0]
  }
}

exports.send = function (value, transfer = [], interfaces = []) {
  const sender = new Sender(interfaces)
  const copy = pack(sender, value, transfer)
  return sender.marks.length > 0 ? [copy, sender.marks] : [copy]
}

// Puts what the marks stand for in their places.
class Receiver {
  constructor(interfaces) {
    this.interfaces = interfaces
    this.real = new Map()
    this.seen = new Set()
  }

  make(kind, what) {
    switch (kind) {
      case 'url':
        return new URL(what)
      case 'buffer':
        return Buffer.from(what.buffer, what.byteOffset, what.byteLength)
      case 'view':
        return new DataView(...what)
      case 'error':
        return what.name === 'AggregateError' ? new AggregateError([], what.message) : new (ERRORS[what.name] || Error)(what.message)
      case 'carried': {
        const [index, data, transferred] = what
        const type = this.interfaces[index]
        if (type === undefined) throw DataCloneError.INVALID_INTERFACE('Class is not registered as a serializable or transferable interface')
        return type[transferred ? symbols.attach : symbols.deserialize](this.fill(data))
      }
    }
  }

  finishError(error, what) {
    for (const key of ['stack', 'cause', 'errors']) {
      if (key in what) {
        Object.defineProperty(error, key, { value: this.fill(what[key]), writable: true, configurable: true })
      }
    }
  }

  fill(value) {
    if (typeof value !== 'object' || value === null) return value
    if (this.real.has(value)) return this.real.get(value)
    if (this.seen.has(value) || ArrayBuffer.isView(value)) return value
    this.seen.add(value)
    if (value instanceof Map) {
      const pairs = [...value]
      value.clear()
      for (const [key, one] of pairs) value.set(this.fill(key), this.fill(one))
    } else if (value instanceof Set) {
      const all = [...value]
      value.clear()
      for (const one of all) value.add(this.fill(one))
    } else {
      for (const key of Object.keys(value)) {
        const filled = this.fill(value[key])
        if (filled !== value[key]) value[key] = filled
      }
    }
    return value
  }
}

exports.receive = function ([value, marks], interfaces = []) {
  if (marks === undefined) return value
  const receiver = new Receiver(interfaces)
  // What is carried in something else comes before it.
  for (const [place, kind, what] of marks) receiver.real.set(place, receiver.make(kind, what))
  for (const [place, kind, what] of marks) {
    if (kind === 'error') receiver.finishError(receiver.real.get(place), what)
  }
  return receiver.fill(value)
}
