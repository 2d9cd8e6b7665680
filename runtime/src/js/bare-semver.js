// bare-semver 1.1: semantic versions, and ranges of them as npm has them.

const EQ = 1
const LT = 2
const LTE = 3
const GT = 4
const GTE = 5

const SYMBOLS = { [EQ]: '=', [LT]: '<', [LTE]: '<=', [GT]: '>', [GTE]: '>=' }
const OPERATORS = { '': EQ, '=': EQ, '<': LT, '<=': LTE, '>': GT, '>=': GTE }

class SemVerError extends Error {
  constructor(message, code, caller = SemVerError) {
    super(`${code}: ${message}`)
    this.code = code
    if (Error.captureStackTrace) Error.captureStackTrace(this, caller)
  }

  get name() {
    return 'SemVerError'
  }

  static INVALID_VERSION(message, caller = SemVerError.INVALID_VERSION) {
    return new SemVerError(message, 'INVALID_VERSION', caller)
  }

  static INVALID_RANGE(message, caller = SemVerError.INVALID_RANGE) {
    return new SemVerError(message, 'INVALID_RANGE', caller)
  }
}

function unexpected(input, position, expected) {
  const what =
    position >= input.length
      ? `Unexpected end of input in '${input}'`
      : `Unexpected token '${input[position]}' in '${input}' at position ${position}`
  return SemVerError.INVALID_VERSION(`${what}, ${expected}`)
}

const TAGS = '(?:-([0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*))?(?:\\+([0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*))?'
const NUMBER = '(0|[1-9][0-9]*)'
const FULL = new RegExp(`${NUMBER}\\.${NUMBER}\\.${NUMBER}${TAGS}`, 'y')
const COMPONENT = /[0-9]+/y
const DIGITS = /^[0-9]+$/

class Version {
  constructor(major, minor, patch, { prerelease = [], build = [] } = {}) {
    this.major = major
    this.minor = minor
    this.patch = patch
    this.prerelease = prerelease
    this.build = build
  }

  compare(other) {
    return Version.compare(this, other)
  }

  toString() {
    let text = `${this.major}.${this.minor}.${this.patch}`
    if (this.prerelease.length > 0) text += '-' + this.prerelease.join('.')
    if (this.build.length > 0) text += '+' + this.build.join('.')
    return text
  }

  static parse(input) {
    FULL.lastIndex = 0
    const match = FULL.exec(input)
    // A number of a prerelease has no zero in front.
    const tags = match === null || !match[4] ? [] : match[4].split('.')
    if (match === null || tags.some((tag) => /^0[0-9]+$/.test(tag))) throw misparsed(input)
    if (match[0].length < input.length) {
      throw unexpected(input, match[0].length, 'expected end of input')
    }
    return versionOf(match)
  }

  static compare(a, b) {
    for (const part of ['major', 'minor', 'patch']) {
      if (a[part] !== b[part]) return a[part] > b[part] ? 1 : -1
    }
    return comparePrerelease(a.prerelease, b.prerelease)
  }
}

function versionOf([, major, minor, patch, prerelease, build]) {
  return new Version(Number(major), Number(minor), Number(patch), {
    prerelease: prerelease ? prerelease.split('.') : [],
    build: build ? build.split('.') : []
  })
}

// Says where a version stops being one.
function misparsed(input) {
  let at = 0
  for (let i = 0; i < 3; i++) {
    if (i > 0) {
      if (input[at] !== '.') return unexpected(input, at, "expected '.'")
      at++
    }
    COMPONENT.lastIndex = at
    const digits = COMPONENT.exec(input)
    if (digits === null) return unexpected(input, at, 'expected /[0-9]/')
    at += digits[0][0] === '0' ? 1 : digits[0].length
  }
  return unexpected(input, at, 'expected /[a-zA-Z-]/')
}

// A version with a prerelease comes before the one without; numbers come before words.
function comparePrerelease(a, b) {
  if (a.length === 0 || b.length === 0) return Math.sign(b.length - a.length)
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (i === a.length) return -1
    if (i === b.length) return 1
    if (a[i] === b[i]) continue
    const aNumber = DIGITS.test(a[i])
    const bNumber = DIGITS.test(b[i])
    if (aNumber && bNumber) return Number(a[i]) > Number(b[i]) ? 1 : -1
    if (aNumber !== bNumber) return aNumber ? -1 : 1
    return a[i] > b[i] ? 1 : -1
  }
  return 0
}

class Comparator {
  constructor(operator, version) {
    this.operator = operator
    this.version = version
  }

  test(version) {
    const order = version.compare(this.version)
    switch (this.operator) {
      case LT:
        return order < 0
      case LTE:
        return order <= 0
      case GT:
        return order > 0
      case GTE:
        return order >= 0
      default:
        return order === 0
    }
  }

  toString() {
    return SYMBOLS[this.operator] + this.version
  }
}

class Range {
  constructor(comparators = []) {
    this.comparators = comparators
  }

  test(version) {
    return this.comparators.some((set) => {
      if (!set.every((comparator) => comparator.test(version))) return false
      // A prerelease is only for those who ask for one of the same version.
      return version.prerelease.length === 0 || set.some((comparator) => asksFor(comparator, version))
    })
  }

  toString() {
    return this.comparators.map((set) => set.join(' ')).join(' || ')
  }

  static parse(input) {
    const sets = []
    for (const alternative of splitAlternatives(input)) {
      const set = parseSet(input, alternative.text, alternative.position)
      if (set.length > 0) sets.push(set)
    }
    return new Range(sets)
  }
}

function asksFor({ version: asked }, version) {
  return (
    asked.prerelease.length > 0 &&
    asked.major === version.major &&
    asked.minor === version.minor &&
    asked.patch === version.patch
  )
}

function splitAlternatives(input) {
  let position = 0
  return input.split('||').map((text) => {
    const alternative = { text, position }
    position += text.length + 2
    return alternative
  })
}

const PARTIAL = `(?:[xX*]|${NUMBER})(?:\\.(?:[xX*]|${NUMBER})(?:\\.(?:[xX*]|${NUMBER})${TAGS})?)?`
const HYPHEN = new RegExp(`(?<low>${PARTIAL}) +- +(?<high>${PARTIAL}) *`, 'y')
const SIMPLE = new RegExp(`(<=|>=|<|>|=|\\^|~>|~|) *(${PARTIAL}) *`, 'y')
const PART = new RegExp(`^${PARTIAL}$`)

function parseSet(input, text, position) {
  const set = []
  let at = text.length - text.trimStart().length
  while (at < text.length) {
    HYPHEN.lastIndex = SIMPLE.lastIndex = at
    const span = HYPHEN.exec(text)
    if (span !== null) {
      set.push(...between(partial(span.groups.low), partial(span.groups.high)))
      at = HYPHEN.lastIndex
      continue
    }
    const simple = SIMPLE.exec(text)
    if (simple === null) {
      throw unexpected(input, position + at, "expected '||', '<', '>', '^', '~', or '='")
    }
    set.push(...expand(simple[1], partial(simple[2])))
    at = SIMPLE.lastIndex
  }
  return set
}

// A version of which parts may be missing: `precision` says how many are there.
function partial(text) {
  const match = PART.exec(text)
  const numbers = match.slice(1, 4)
  let precision = numbers.findIndex((number) => number === undefined)
  if (precision === -1) precision = 3
  const [major, minor, patch] = numbers.map((number, i) => (i < precision ? Number(number) : 0))
  const whole = precision === 3
  const version = new Version(major, minor, patch, {
    prerelease: whole && match[4] ? match[4].split('.') : [],
    build: whole && match[5] ? match[5].split('.') : []
  })
  return { version, precision }
}

// Below a version and below all prereleases of it.
function below(major, minor, patch) {
  return new Comparator(LT, new Version(major, minor, patch, { prerelease: ['0'] }))
}

function between(low, high) {
  const { major, minor } = high.version
  const set = [new Comparator(GTE, low.version)]
  if (high.precision === 3) set.push(new Comparator(LTE, high.version))
  else if (high.precision === 2) set.push(below(major, minor + 1, 0))
  else if (high.precision === 1) set.push(below(major + 1, 0, 0))
  return set
}

function expand(symbol, { version, precision }) {
  const { major, minor, patch } = version
  const from = new Comparator(GTE, version)
  const shorthand = symbol === '' || symbol === '=' || symbol === '^' || symbol[0] === '~'
  if (shorthand && precision === 0) return [new Comparator(GTE, new Version(0, 0, 0))]

  if (symbol === '^') {
    // What is left of the first number that is not zero may not change.
    if (major !== 0 || precision === 1) return [from, below(major + 1, 0, 0)]
    if (minor !== 0 || precision === 2) return [from, below(0, minor + 1, 0)]
    return [from, below(0, 0, patch + 1)]
  }
  if (symbol[0] === '~') {
    return [from, precision === 1 ? below(major + 1, 0, 0) : below(major, minor + 1, 0)]
  }
  if (shorthand && precision < 3) {
    return [from, precision === 1 ? below(major + 1, 0, 0) : below(major, minor + 1, 0)]
  }
  return [new Comparator(OPERATORS[symbol], version)]
}

exports.constants = { EQ, LT, LTE, GT, GTE }
exports.errors = SemVerError
exports.Version = Version
exports.Range = Range
exports.Comparator = Comparator

exports.satisfies = function satisfies(version, range) {
  if (typeof version === 'string') version = Version.parse(version)
  if (typeof range === 'string') range = Range.parse(range)
  return range.test(version)
}
