// bare-diagnostics-channel 1.1.

const channels = new Map()

class Channel {
  constructor(name) {
    this._name = name
    this._subscribers = []
    channels.set(name, this)
  }

  get name() {
    return this._name
  }

  get hasSubscribers() {
    return this._subscribers.length > 0
  }

  subscribe(fn) {
    this._subscribers = [...this._subscribers, fn]
  }

  unsubscribe(fn) {
    const index = this._subscribers.indexOf(fn)
    if (index === -1) return false
    this._subscribers = this._subscribers.toSpliced(index, 1)
    return true
  }

  publish(data) {
    for (const fn of this._subscribers) {
      try {
        fn(data, this._name)
      } catch (err) {
        // What a subscriber does wrong is not the publisher's concern.
        setImmediate(() => {
          throw err
        })
      }
    }
  }
}

function channel(name) {
  return channels.get(name) || new Channel(name)
}

const EVENTS = ['start', 'end', 'error']

class TracingChannel {
  constructor(source) {
    for (const event of EVENTS) {
      this[event] = typeof source === 'string' ? channel(`tracing:${source}:${event}`) : source[event]
    }
  }

  get hasSubscribers() {
    return EVENTS.some((event) => this[event].hasSubscribers)
  }

  subscribe(subscriptions) {
    for (const event of EVENTS) {
      if (subscriptions[event]) this[event].subscribe(subscriptions[event])
    }
  }

  unsubscribe(subscriptions) {
    let done = true
    for (const event of EVENTS) {
      if (subscriptions[event] && !this[event].unsubscribe(subscriptions[event])) done = false
    }
    return done
  }

  // Whether or not it throws, the end is published; what it throws is published and goes no further.
  traceSync(fn, context = {}, thisArg, ...args) {
    try {
      this.start.publish(context)
      context.result = fn.apply(thisArg, args)
      return context.result
    } catch (err) {
      context.error = err
      this.error.publish(context)
    } finally {
      this.end.publish(context)
    }
  }
}

module.exports = exports = Channel

exports.Channel = Channel
exports.channel = channel
exports.subscribe = (name, fn) => channel(name).subscribe(fn)
exports.unsubscribe = (name, fn) => channel(name).unsubscribe(fn)
exports.hasSubscribers = (name) => channels.has(name) && channels.get(name).hasSubscribers
exports.tracingChannel = (source) => new TracingChannel(source)
