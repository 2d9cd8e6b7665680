// not in bare
const { Event, CustomEvent, EventTarget } = require('bare-events/web')
const { AbortController, AbortSignal } = require('bare-abort-controller')

const log = (...args) => console.log(args.map(String).join(' '))
const target = new EventTarget()

const listener = (event) => log('plain', event.type, event.target === target)
target.addEventListener('a', listener)
target.addEventListener('a', listener)
target.addEventListener('a', { handleEvent: (event) => log('object', event.currentTarget === target) })
target.addEventListener('a', () => log('once'), { once: true })
target.addEventListener('a', (event) => event.preventDefault(), { passive: true })
log(target.dispatchEvent(new Event('a', { cancelable: true })))
target.addEventListener('a', (event) => {
  event.preventDefault()
  event.stopImmediatePropagation()
})
target.addEventListener('a', () => log('never'))
const event = new Event('a', { cancelable: true })
log(target.dispatchEvent(event), event.defaultPrevented, event.currentTarget)
target.removeEventListener('a', listener)
target.dispatchEvent(new Event('a'))
log(JSON.stringify(new CustomEvent('c', { detail: { x: 1 } })))

const inside = new EventTarget()
inside.addEventListener('x', (event) => {
  try {
    inside.dispatchEvent(event)
  } catch (err) {
    log(err.name, err.message)
  }
})
inside.dispatchEvent(new Event('x'))

const controller = new AbortController()
const { signal } = controller
const any = AbortSignal.any([signal, new AbortController().signal])
target.addEventListener('gone', () => log('not any more'), { signal })
signal.addEventListener('abort', () => log('aborted', signal.aborted, signal.reason.name))
any.addEventListener('abort', () => log('any', any.reason === signal.reason))
controller.abort()
controller.abort()
target.dispatchEvent(new Event('gone'))
try {
  signal.throwIfAborted()
} catch (err) {
  log(err.message)
}
log(AbortSignal.abort('why').reason, AbortSignal.any([AbortSignal.abort('already')]).reason)

const timeout = AbortSignal.timeout(1)
timeout.addEventListener('abort', () => log(timeout.reason.name))
setTimeout(() => {}, 20)
