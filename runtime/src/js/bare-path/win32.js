// bare-path 3.1, `/win32`.

const {
  checkString,
  normalizeSegments,
  lastSegment,
  baseOf,
  extensionOf,
  format,
  relativeSegments
} = require('bare-path/segments')

const isSeparator = (char) => char === '\\' || char === '/'
const SEPARATORS = /[\\/]+/

exports.sep = '\\'
exports.delimiter = ';'
exports.win32 = exports

Object.defineProperty(exports, 'posix', {
  enumerable: true,
  configurable: true,
  get: () => require('bare-path/posix')
})

// Takes a path apart: the device (`C:`, or `\\server\share`), whether it is absolute, and what
// follows, at `end`.
function rootOf(path) {
  if (isSeparator(path[0])) {
    const unc = /^[\\/]{2}([^\\/]+)[\\/]+([^\\/]+)([\\/]*)/.exec(path)
    if (unc !== null) {
      return { device: `\\\\${unc[1]}\\${unc[2]}`, absolute: true, end: unc[0].length }
    }
    return { device: '', absolute: true, end: 1 }
  }
  if (/^[a-zA-Z]:/.test(path)) {
    const absolute = isSeparator(path[2])
    return { device: path.slice(0, 2), absolute, end: absolute ? 3 : 2 }
  }
  return { device: '', absolute: false, end: 0 }
}

exports.isAbsolute = function isAbsolute(path) {
  checkString(path, 'path')
  return isSeparator(path[0]) || /^[a-zA-Z]:[\\/]/.test(path)
}

exports.resolve = function resolve(...paths) {
  let device = ''
  let tail = ''
  let absolute = false
  for (let i = paths.length - 1; i >= -1 && !(absolute && device !== ''); i--) {
    const path = i >= 0 ? paths[i] : native.cwd()
    if (i >= 0) checkString(path, `paths[${i}]`)
    if (path === '') continue
    const root = rootOf(path)
    // A path of another drive says nothing about this one.
    if (root.device !== '' && device !== '' && root.device.toLowerCase() !== device.toLowerCase()) {
      continue
    }
    if (device === '') device = root.device
    if (!absolute) {
      tail = `${path.slice(root.end)}\\${tail}`
      absolute = root.absolute
    }
  }
  const path = normalizeSegments(tail.split(SEPARATORS), absolute).join('\\')
  return device + (absolute ? '\\' : '') + path || '.'
}

exports.normalize = function normalize(path) {
  checkString(path, 'path')
  if (path === '') return '.'
  const { device, absolute, end } = rootOf(path)
  let tail = normalizeSegments(path.slice(end).split(SEPARATORS), absolute).join('\\')
  if (tail === '' && !absolute) tail = '.'
  if (tail !== '' && isSeparator(path.at(-1))) tail += '\\'
  return device + (absolute ? '\\' : '') + tail
}

exports.join = function join(...paths) {
  for (const path of paths) checkString(path, 'path')
  const parts = paths.filter((path) => path !== '')
  if (parts.length === 0) return '.'
  // Only a first part that is the beginning of a UNC path may begin the result with two separators.
  const unc = /^[\\/]{2}[^\\/]/.test(parts[0])
  const joined = parts.join('\\')
  return exports.normalize(unc ? joined : joined.replace(/^[\\/]{2,}/, '\\'))
}

exports.relative = function relative(from, to) {
  checkString(from, 'from')
  checkString(to, 'to')
  const a = exports.resolve(from)
  const b = exports.resolve(to)
  const same = (x, y) => x.toLowerCase() === y.toLowerCase()
  if (same(a, b)) return ''
  if (!same(rootOf(a).device, rootOf(b).device)) return b
  const segments = (path) => path.slice(rootOf(path).end).split('\\').filter(Boolean)
  return relativeSegments(segments(a), segments(b), same).join('\\')
}

exports.toNamespacedPath = function toNamespacedPath(path) {
  if (typeof path !== 'string' || path === '') return path
  const resolved = exports.resolve(path)
  if (/^[a-zA-Z]:\\/.test(resolved)) return '\\\\?\\' + resolved
  if (/^\\\\[^?.]/.test(resolved)) return '\\\\?\\UNC\\' + resolved.slice(2)
  return path
}

exports.dirname = function dirname(path) {
  checkString(path, 'path')
  if (path === '') return '.'
  const { end } = rootOf(path)
  const last = lastSegment(path, end, isSeparator)
  if (last === null) return end === 0 ? '.' : path.slice(0, end)
  // One separator is left out: the last of those before the segment, unless it is the root.
  const cut = Math.max(end, last[0] - 1)
  return cut === 0 ? '.' : path.slice(0, cut)
}

exports.basename = function basename(path, suffix) {
  if (suffix !== undefined) checkString(suffix, 'suffix')
  checkString(path, 'path')
  if (suffix === path && suffix !== '') return ''
  const last = lastSegment(path, /^[a-zA-Z]:/.test(path) ? 2 : 0, isSeparator)
  return last === null ? '' : baseOf(path.slice(...last), suffix)
}

exports.extname = function extname(path) {
  checkString(path, 'path')
  return extensionOf(exports.basename(path))
}

exports.parse = function parse(path) {
  checkString(path, 'path')
  const { end } = rootOf(path)
  const root = path.slice(0, end)
  const last = lastSegment(path, end, isSeparator)
  const base = last === null ? '' : path.slice(...last)
  const ext = extensionOf(base)
  const dir = last === null || last[0] === end ? root : exports.dirname(path)
  return { root, dir, base, ext, name: base.slice(0, base.length - ext.length) }
}

exports.format = function (parts) {
  return format('\\', parts)
}
