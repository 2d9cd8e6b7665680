// bare-path 3.1: what both kinds of paths do alike.

exports.checkString = function checkString(value, name) {
  if (typeof value !== 'string') {
    throw new TypeError(
      `The "${name}" argument must be of type string. Received type ${typeof value}`
    )
  }
}

// Resolves `.` and `..`; a `..` that leads above the start stays only in a relative path.
exports.normalizeSegments = function normalizeSegments(segments, absolute) {
  const result = []
  for (const segment of segments) {
    if (segment === '' || segment === '.') continue
    if (segment !== '..') result.push(segment)
    else if (result.length > 0 && result.at(-1) !== '..') result.pop()
    else if (!absolute) result.push('..')
  }
  return result
}

// Where the last segment is: `[start, end]`, separators behind it left out; `null` if there is none.
exports.lastSegment = function lastSegment(path, from, isSeparator) {
  let end = path.length
  while (end > from && isSeparator(path[end - 1])) end--
  if (end === from) return null
  let start = end
  while (start > from && !isSeparator(path[start - 1])) start--
  return [start, end]
}

exports.baseOf = function baseOf(segment, suffix) {
  if (suffix === undefined || suffix === '' || !segment.endsWith(suffix)) return segment
  return segment === suffix ? segment : segment.slice(0, -suffix.length)
}

// From the last dot of a name; a name that begins with its only dot has no extension.
exports.extensionOf = function extensionOf(segment) {
  if (segment === '..') return ''
  const dot = segment.lastIndexOf('.')
  return dot <= 0 ? '' : segment.slice(dot)
}

exports.format = function format(separator, parts) {
  const dir = parts.dir || parts.root
  const ext = parts.ext && !parts.ext.startsWith('.') ? '.' + parts.ext : parts.ext || ''
  const base = parts.base || (parts.name || '') + ext
  if (!dir) return base
  return dir === parts.root ? dir + base : dir + separator + base
}

// How to get from one list of segments to another.
exports.relativeSegments = function relativeSegments(from, to, same) {
  let common = 0
  while (common < from.length && common < to.length && same(from[common], to[common])) common++
  return [...from.slice(common).fill('..'), ...to.slice(common)]
}
