// not in bare
const EventEmitter = require('bare-events')

const log = (...args) => console.log(args.map(String).join(' '))
const e = new EventEmitter()

e.on('newListener', (name) => log('new', name, e.listenerCount(name)))
e.on('removeListener', (name) => log('removed', name, e.listenerCount(name)))

function first(...args) {
  log('first', ...args, this === e)
}

e.on('a', first)
e.prependListener('a', () => log('before'))
e.once('a', () => log('once'))
log(e.emit('a', 1, 2, 3))
log(e.emit('a'))
log(e.emit('none'))

// Whoever is added during an emit hears the next one.
e.once('b', () => {
  e.on('b', () => log('late'))
  e.emit('b')
})
e.emit('b')

// A one-time listener that emits again is not called again.
let count = 0
e.once('c', () => {
  if (count++ < 3) e.emit('c')
})
e.emit('c')
log('count', count)

log(e.eventNames().join(), e.listeners('a').length, e.rawListeners('a')[1] === first)
e.off('a', first).removeAllListeners('b')
e.removeAllListeners()
log(e.eventNames().length)

const symbol = Symbol('s')
e.on(symbol, (x) => log('symbol', x))
e.emit(symbol, 5)

const target = new EventEmitter()
EventEmitter.forward(e, target, ['x', 'y'])
log(e.listenerCount('x'))
target.on('x', (v) => log('forwarded', v))
log(e.listenerCount('x'))
e.emit('x', 'v')
target.removeAllListeners('x')
log(e.listenerCount('x'))

async function main() {
  const source = new EventEmitter()
  setTimeout(() => source.emit('go', 1, 2), 1)
  log(await EventEmitter.once(source, 'go'))
  setTimeout(() => source.emit('error', new Error('bad')), 1)
  await EventEmitter.once(source, 'go').catch((err) => log('rejected', err.message))

  setTimeout(() => {
    source.emit('n', 1)
    source.emit('n', 2)
    source.emit('error', new Error('end'))
  }, 1)
  try {
    for await (const [n] of EventEmitter.on(source, 'n')) log('n', n)
  } catch (err) {
    log('over', err.message, source.listenerCount('n'), source.listenerCount('error'))
  }

  const { AbortController } = require('bare-abort-controller')
  const controller = new AbortController()
  setTimeout(() => controller.abort(new Error('stop')), 1)
  await EventEmitter.once(source, 'go', controller).catch((err) => log(err.code, err.cause.message))
  await EventEmitter.once(source, 'go', controller).catch((err) => log(err.code))
}

async function nobodyListens() {
  Bare.on('uncaughtException', (err) => log('uncaught', err.name, err.message, err.code))
  log(new EventEmitter().emit('error', new Error('nobody listens')))
  await new Promise((resolve) => setTimeout(resolve, 5))
  log(new EventEmitter().emit('error', 'no error'))
}

main().then(nobodyListens)
