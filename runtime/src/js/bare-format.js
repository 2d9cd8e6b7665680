// bare-format 1.0: printf for values.

// Loaded when first asked for: most lines are plain text.
function inspect(value, opts) {
  return require('bare-inspect')(value, opts)
}

module.exports = exports = function format(...args) {
  return formatWithOptions({}, ...args)
}

exports.format = exports
exports.formatWithOptions = formatWithOptions

const DIRECTIVE = /%[sdifOojc%]/g

function formatWithOptions(opts, ...args) {
  const [first] = args
  if (typeof first !== 'string') return join('', args, opts)
  if (args.length === 1) return first

  let next = 1
  let used = false
  const text = first.replace(DIRECTIVE, (directive) => {
    const letter = directive[1]
    if (letter === '%') {
      used = true
      return '%'
    }
    // As in Bare, the first directive without an argument gives `undefined`; the others stay.
    if (next > args.length) return directive
    used = true
    return convert(letter, args[next++], opts)
  })
  if (!used) return join('', args, opts)
  return join(text, args.slice(next), opts, true)
}

function convert(letter, value, opts) {
  const plain = (value) => inspect(value, { ...opts, colors: false })
  switch (letter) {
    case 's':
      return typeof value === 'bigint' ? plain(value) : String(value)
    case 'd':
      if (typeof value === 'symbol') return 'NaN'
      return plain(typeof value === 'bigint' ? value : Number(value))
    case 'i':
      if (typeof value === 'symbol') return 'NaN'
      return plain(typeof value === 'bigint' ? value : parseInt(value, 10))
    case 'f':
      return typeof value === 'symbol' ? 'NaN' : plain(parseFloat(value))
    case 'j':
      return String(JSON.stringify(value))
    case 'c':
      return ''
    default:
      return inspect(value, opts)
  }
}

// The values that no directive took follow, each after a space.
function join(text, values, opts, lead = false) {
  for (const value of values) {
    if (lead) text += ' '
    text += typeof value === 'string' ? value : inspect(value, opts)
    lead = true
  }
  return text
}
