// bare-path 3.1, `/posix`.

const {
  checkString,
  normalizeSegments,
  lastSegment,
  baseOf,
  extensionOf,
  format,
  relativeSegments
} = require('bare-path/segments')

const isSeparator = (char) => char === '/'

exports.sep = '/'
exports.delimiter = ':'
exports.posix = exports

Object.defineProperty(exports, 'win32', {
  enumerable: true,
  configurable: true,
  get: () => require('bare-path/win32')
})

exports.isAbsolute = function isAbsolute(path) {
  checkString(path, 'path')
  return path.startsWith('/')
}

exports.resolve = function resolve(...paths) {
  let resolved = ''
  for (let i = paths.length - 1; i >= -1 && !resolved.startsWith('/'); i--) {
    const path = i >= 0 ? paths[i] : native.cwd()
    if (i >= 0) checkString(path, `paths[${i}]`)
    if (path !== '') resolved = `${path}/${resolved}`
  }
  const absolute = resolved.startsWith('/')
  const path = normalizeSegments(resolved.split('/'), absolute).join('/')
  return absolute ? '/' + path : path || '.'
}

exports.normalize = function normalize(path) {
  checkString(path, 'path')
  if (path === '') return '.'
  const absolute = path.startsWith('/')
  let result = normalizeSegments(path.split('/'), absolute).join('/')
  if (result === '' && !absolute) result = '.'
  if (result !== '' && path.endsWith('/')) result += '/'
  return absolute ? '/' + result : result
}

exports.join = function join(...paths) {
  for (const path of paths) checkString(path, 'path')
  const joined = paths.filter((path) => path !== '').join('/')
  return joined === '' ? '.' : exports.normalize(joined)
}

exports.relative = function relative(from, to) {
  checkString(from, 'from')
  checkString(to, 'to')
  const segments = (path) => exports.resolve(path).split('/').filter(Boolean)
  return relativeSegments(segments(from), segments(to), (a, b) => a === b).join('/')
}

exports.toNamespacedPath = function toNamespacedPath(path) {
  return path
}

exports.dirname = function dirname(path) {
  checkString(path, 'path')
  if (path === '') return '.'
  const last = lastSegment(path, 0, isSeparator)
  if (last === null) return '/'
  if (last[0] === 0) return '.'
  // One separator is left out: the last of those before the segment, unless it is the root.
  const end = last[0] - 1
  if (end === 0) return '/'
  return end === 1 && path[0] === '/' ? '//' : path.slice(0, end)
}

exports.basename = function basename(path, suffix) {
  if (suffix !== undefined) checkString(suffix, 'suffix')
  checkString(path, 'path')
  if (suffix === path && suffix !== '') return ''
  const last = lastSegment(path, 0, isSeparator)
  return last === null ? '' : baseOf(path.slice(...last), suffix)
}

exports.extname = function extname(path) {
  checkString(path, 'path')
  const last = lastSegment(path, 0, isSeparator)
  return last === null ? '' : extensionOf(path.slice(...last))
}

exports.parse = function parse(path) {
  checkString(path, 'path')
  const root = path.startsWith('/') ? '/' : ''
  const base = exports.basename(path)
  const ext = extensionOf(base)
  const last = lastSegment(path, 0, isSeparator)
  const dir = last === null || last[0] === 0 ? root : exports.dirname(path)
  return { root, dir, base, ext, name: base.slice(0, base.length - ext.length) }
}

exports.format = function (parts) {
  return format('/', parts)
}
