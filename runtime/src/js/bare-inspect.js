// bare-inspect 3.1: a value as a person wants to read it.
//
// A value becomes a tree of parts first (`bare-inspect/layout`), which knows how wide each part is;
// then the tree is written, broken into lines where it is too wide. Nothing that the value does may
// make this fail: its properties are read by descriptor, accessors are named and not called, and
// what is read all the same is read in `attempt`.

const escapes = require('bare-ansi-escapes')
const getType = require('bare-type')
const { Leaf, Pair, More, Sequence, Reference } = require('bare-inspect/layout')

const MAX_ITEMS = 40

const styles = {
  bigint: escapes.colorYellow,
  boolean: escapes.colorYellow,
  date: escapes.colorMagenta,
  module: escapes.modifierUnderline,
  name: escapes.modifierReset,
  null: escapes.modifierBold,
  number: escapes.colorYellow,
  regexp: escapes.colorRed,
  special: escapes.colorCyan,
  string: escapes.colorGreen,
  symbol: escapes.colorGreen,
  undefined: escapes.colorBrightBlack
}

module.exports = exports = function inspect(value, opts = {}) {
  const { colors = false, depth = 2, breakLength = 80 } = opts
  const paint = (text, style) => {
    const color = colors && exports.styles[style]
    return color ? color + text + escapes.modifierReset : text
  }
  const job = {
    options: { ...opts, colors, breakLength, stylize: opts.stylize || paint },
    paint,
    breakLength,
    maxDepth: typeof depth === 'number' ? depth : Infinity,
    references: new Map(),
    nextId: 1
  }
  return partOf(job, value, 0).write()
}

exports.styles = styles

function attempt(fn) {
  try {
    return { value: fn(), failed: false }
  } catch (error) {
    return { value: undefined, failed: true, error }
  }
}

function leaf(job, text, style, depth) {
  return new Leaf(text, (padded) => (style ? job.paint(padded, style) : padded), depth)
}

function special(job, text, depth) {
  return leaf(job, text, 'special', depth)
}

function partOf(job, value, depth) {
  switch (typeof value) {
    case 'undefined':
      return leaf(job, 'undefined', 'undefined', depth)
    case 'boolean':
      return leaf(job, String(value), 'boolean', depth)
    case 'number':
      return leaf(job, Object.is(value, -0) ? '-0' : String(value), 'number', depth)
    case 'bigint':
      return leaf(job, value + 'n', 'bigint', depth)
    case 'string':
      return leaf(job, quote(value), 'string', depth)
    case 'symbol':
      return leaf(job, value.toString(), 'symbol', depth)
    case 'function':
      return functionPart(job, value, depth)
    default:
      return value === null ? leaf(job, 'null', 'null', depth) : objectPart(job, value, depth)
  }
}

const ESCAPES = {
  "'": "\\'",
  '\\': '\\\\',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\f': '\\f',
  '\r': '\\r'
}

// Control characters and halves of surrogate pairs; a whole pair is matched to be left alone.
const UNPRINTABLE = /[\ud800-\udbff][\udc00-\udfff]|[\u0000-\u001f'\\\ud800-\udfff]/g

function quote(text) {
  const body = text.replace(UNPRINTABLE, (match) => {
    if (match.length === 2) return match
    return ESCAPES[match] || '\\u' + match.charCodeAt(0).toString(16).padStart(4, '0')
  })
  return `'${body}'`
}

function functionPart(job, fn, depth) {
  const name = attempt(() => fn.name).value || '(anonymous)'
  const source = attempt(() => Function.prototype.toString.call(fn)).value
  if (typeof source === 'string' && source.startsWith('class')) {
    return special(job, `[class ${name}]`, depth)
  }
  const type = getType(fn)
  let kind = 'function'
  if (type.isGeneratorFunction()) kind = 'generator ' + kind
  if (type.isAsyncFunction()) kind = 'async ' + kind
  return special(job, `[${kind} ${name}]`, depth)
}

// What the constructor is called; the empty string if that cannot be told.
function nameOf(object) {
  const { value } = attempt(() => object.constructor.name)
  return typeof value === 'string' ? value : ''
}

function objectPart(job, object, depth) {
  let reference = job.references.get(object)
  if (reference === undefined) {
    reference = new Reference(job, depth)
    job.references.set(object, reference)
  } else if (reference.open > 0) {
    // The object is inside itself.
    reference.circular = true
    return reference
  }

  if (depth > job.maxDepth) return special(job, `[${nameOf(object) || 'Object'}]`, depth)

  const custom = customPart(job, object, reference, depth)
  if (custom !== null) return custom

  const type = getType(object)
  for (const [is, write] of KINDS) {
    if (type[is]()) return write(job, object, reference, depth)
  }
  return plainPart(job, object, reference, depth)
}

// The object may know better how it is to be shown.
function customPart(job, object, reference, depth) {
  const { value: inspect } = attempt(
    () => object[Symbol.for('bare.inspect')] || object[Symbol.for('nodejs.util.inspect.custom')]
  )
  if (typeof inspect !== 'function') return null
  // A prototype has the method for its instances, not for itself.
  if (attempt(() => object.constructor.prototype).value === object) return null

  const { colors, breakLength, stylize } = job.options
  const left = job.maxDepth === Infinity ? null : job.maxDepth - depth
  const { value, failed, error } = attempt(() =>
    inspect.call(object, left, { colors, breakLength, stylize }, exports)
  )
  if (failed) return special(job, `<inspect threw ${labelOf(error)}>`, depth)
  if (typeof value === 'string') return new Leaf(value, (text) => text, depth)
  if (typeof value === 'object' && value !== null) job.references.set(value, reference)
  return partOf(job, value, depth)
}

function labelOf(err) {
  if (err === null || typeof err !== 'object') return 'a non-error'
  const { value: message } = attempt(() => err.message)
  const name = nameOf(err) || 'Error'
  return typeof message === 'string' && message ? `${name}: ${message}` : name
}

// The property, wherever in the chain of prototypes it is: `undefined` if nowhere, `null` if the
// object does not say.
function descriptorOf(object, key) {
  for (let target = object; target !== null && target !== undefined; ) {
    const own = attempt(() => Object.getOwnPropertyDescriptor(target, key))
    if (own.failed) return null
    if (own.value) return own.value
    const above = attempt(() => Object.getPrototypeOf(target))
    if (above.failed) return null
    target = above.value
  }
  return undefined
}

function propertyPart(job, object, key, depth) {
  const descriptor = descriptorOf(object, key)
  if (descriptor === null) return special(job, '<unreadable>', depth)
  if (descriptor === undefined) return partOf(job, undefined, depth)
  if ('value' in descriptor) return partOf(job, descriptor.value, depth)
  if (descriptor.get === undefined) return special(job, '[setter]', depth)
  return special(job, descriptor.set === undefined ? '[getter]' : '[getter/setter]', depth)
}

const PLAIN_KEY = /^[a-zA-Z_][a-zA-Z_0-9]*$/

function keyPart(job, key, depth) {
  if (typeof key === 'string' && PLAIN_KEY.test(key)) return new Leaf(key, (text) => text, depth)
  return partOf(job, key, depth)
}

function pair(job, object, key, depth) {
  return new Pair(': ', keyPart(job, key, depth), propertyPart(job, object, key, depth))
}

function enumerable(object) {
  const keys = []
  attempt(() => {
    for (const key in object) if (key !== 'constructor') keys.push(key)
  })
  return keys
}

function enumerableSymbols(object) {
  const symbols = attempt(() => Object.getOwnPropertySymbols(object)).value || []
  return symbols.filter((symbol) => {
    const { value, failed } = attempt(() => Object.getOwnPropertyDescriptor(object, symbol))
    return failed || value === undefined || value.enumerable
  })
}

// The properties of an array besides its elements.
function namedKeys(object) {
  const { value } = attempt(() => native.namedKeys(object))
  return value || []
}

function sequence(job, reference, depth, { header, footer, delimiter = ', ', tabulate = false }, fill) {
  const parts = []
  reference.open++
  fill(parts)
  reference.open--
  return new Sequence(job, reference, { header, footer, delimiter, tabulate, parts })
}

function plainPart(job, object, reference, depth) {
  const tag = attempt(() => object[Symbol.toStringTag]).value
  const name = nameOf(object)
  let header = '{ '
  if (typeof tag === 'string' && tag) header = `[${tag}] ${header}`
  if (name && name !== 'Object') header = `${name} ${header}`
  return sequence(job, reference, depth, { header, footer: ' }' }, (parts) => {
    for (const key of enumerable(object)) parts.push(pair(job, object, key, depth + 1))
    for (const key of enumerableSymbols(object)) parts.push(pair(job, object, key, depth + 1))
  })
}

// Shows the first items and says how many more there are.
function fillItems(parts, count, part) {
  for (let i = 0; i < count; i++) {
    if (i === MAX_ITEMS) {
      parts.push(new More(count - i))
      break
    }
    parts.push(part(i))
  }
}

function arrayPart(job, array, reference, depth) {
  const name = nameOf(array)
  const header = name && name !== 'Array' ? `${name}(${array.length}) [ ` : '[ '
  return sequence(job, reference, depth, { header, footer: ' ]', tabulate: true }, (parts) => {
    fillItems(parts, array.length, (i) => propertyPart(job, array, i, depth + 1))
    for (const key of namedKeys(array)) parts.push(pair(job, array, key, depth + 1))
  })
}

function typedArrayPart(job, array, reference, depth) {
  const buffer = Buffer.isBuffer(array)
  const header = buffer ? '<Buffer ' : `${nameOf(array) || 'TypedArray'}(${array.length}) [ `
  const form = {
    header,
    footer: buffer ? '>' : ' ]',
    delimiter: buffer ? ' ' : ', ',
    tabulate: true
  }
  return sequence(job, reference, depth, form, (parts) => {
    fillItems(parts, array.length, (i) => {
      if (!buffer) return partOf(job, array[i], depth + 1)
      return new Leaf(array[i].toString(16).padStart(2, '0'), (text) => text, depth + 1)
    })
    for (const key of namedKeys(array)) parts.push(pair(job, array, key, depth + 1))
  })
}

function collectionPart(job, collection, reference, depth, name, item) {
  const size = attempt(() => collection.size).value
  const header = `${nameOf(collection) || name}(${size}) { `
  return sequence(job, reference, depth, { header, footer: ' }', tabulate: true }, (parts) => {
    attempt(() => {
      let shown = 0
      for (const entry of collection) {
        if (shown++ === MAX_ITEMS) {
          parts.push(new More(size - MAX_ITEMS))
          break
        }
        parts.push(item(entry))
      }
    })
    for (const key of enumerable(collection)) parts.push(pair(job, collection, key, depth + 1))
  })
}

function mapPart(job, map, reference, depth) {
  return collectionPart(job, map, reference, depth, 'Map', ([key, value]) => {
    return new Pair(' => ', partOf(job, key, depth + 1), partOf(job, value, depth + 1))
  })
}

function setPart(job, set, reference, depth) {
  return collectionPart(job, set, reference, depth, 'Set', (value) => partOf(job, value, depth + 1))
}

function datePart(job, date, reference, depth) {
  const text = attempt(() => (Number.isNaN(date.getTime()) ? 'Invalid Date' : date.toISOString()))
  return leaf(job, text.value || '[Date]', 'date', depth)
}

function regExpPart(job, regExp, reference, depth) {
  return leaf(job, attempt(() => regExp.toString()).value || '[RegExp]', 'regexp', depth)
}

// What belongs to certain errors and is shown in brackets, enumerable or not.
const ERROR_FIELDS = { AggregateError: ['errors'], SuppressedError: ['error', 'suppressed'] }

function errorPart(job, error, reference, depth) {
  const title = attempt(() => error.toString()).value
  const stack = attempt(() => error.stack).value
  let text = typeof title === 'string' ? title : labelOf(error)
  if (typeof stack === 'string') {
    // The engine's stack is the lines of the callers only.
    const lines = stack.trimEnd()
    text = lines.startsWith(text) ? lines : lines === '' ? text : text + '\n' + lines
  }
  if (depth > 0) text = text.replaceAll('\n', '\n' + '  '.repeat(depth))

  const fields = ['cause', ...(ERROR_FIELDS[attempt(() => error.name).value] || [])]
  const part = sequence(job, reference, depth, { header: text + ' {', footer: ' }' }, (parts) => {
    for (const key of fields) {
      if (descriptorOf(error, key) === undefined) continue
      const label = new Leaf(`[${key}]`, (text) => text, depth + 1)
      parts.push(new Pair(': ', label, propertyPart(job, error, key, depth + 1)))
    }
    for (const key of enumerable(error)) {
      if (key === 'stack' || fields.includes(key)) continue
      parts.push(pair(job, error, key, depth + 1))
    }
  })
  return part.parts.length === 0 ? new Leaf(text, (text) => text, depth) : part
}

function promisePart(job, promise, reference, depth) {
  const header = `${nameOf(promise) || 'Promise'} { `
  return sequence(job, reference, depth, { header, footer: ' }', delimiter: ' ' }, (parts) => {
    const [state, result] = native.promise(promise)
    if (state === 'pending') parts.push(special(job, '<pending>', depth))
    if (state === 'rejected') parts.push(special(job, '<rejected>', depth))
    if (state !== 'pending') parts.push(partOf(job, result, depth))
  })
}

function weakPart(job, object, reference, depth) {
  const header = `${nameOf(object) || 'Weak'} { `
  return sequence(job, reference, depth, { header, footer: ' }' }, (parts) => {
    parts.push(special(job, '<items unknown>', depth + 1))
  })
}

function weakRefPart(job, ref, reference, depth) {
  const header = `${nameOf(ref) || 'WeakRef'} { `
  return sequence(job, reference, depth, { header, footer: ' }' }, (parts) => {
    const target = attempt(() => ref.deref()).value
    if (target === undefined) parts.push(special(job, '<cleared>', depth + 1))
    else parts.push(partOf(job, target, depth + 1))
  })
}

function fieldsPart(...fields) {
  return (job, object, reference, depth) => {
    const header = `${nameOf(object) || 'ArrayBuffer'} { `
    return sequence(job, reference, depth, { header, footer: ' }' }, (parts) => {
      for (const key of fields) {
        const value = attempt(() => object[key]).value
        parts.push(new Pair(': ', keyPart(job, key, depth + 1), partOf(job, value, depth + 1)))
      }
      for (const key of namedKeys(object)) parts.push(pair(job, object, key, depth + 1))
    })
  }
}

const KINDS = [
  ['isArray', arrayPart],
  ['isDate', datePart],
  ['isRegExp', regExpPart],
  ['isError', errorPart],
  ['isPromise', promisePart],
  ['isMap', mapPart],
  ['isSet', setPart],
  ['isWeakMap', weakPart],
  ['isWeakSet', weakPart],
  ['isWeakRef', weakRefPart],
  ['isArrayBuffer', fieldsPart('byteLength')],
  ['isSharedArrayBuffer', fieldsPart('byteLength')],
  ['isTypedArray', typedArrayPart],
  ['isDataView', fieldsPart('byteLength', 'byteOffset', 'buffer')]
]
