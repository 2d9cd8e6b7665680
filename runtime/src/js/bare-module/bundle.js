// A bundle: files in one, with a header that says where each is. After bare-bundle 1.10.
//
//   #! line, if any
//   <decimal length of the JSON and the two newlines around it>
//   <JSON: version, id, main, imports, resolutions, addons, assets, files { offset, length, mode }>
//   <the files, one after another in the order of the header>

const { ModuleError } = require('bare-module/errors')

function parse (bytes) {
  let at = 0
  if (bytes[0] === 0x23 && bytes[1] === 0x21) at = bytes.indexOf(0x0a) + 1
  let end = at
  while (bytes[end] >= 0x30 && bytes[end] <= 0x39) end++
  const length = parseInt(bytes.toString('utf8', at, end), 10)
  let header
  try {
    header = JSON.parse(bytes.toString('utf8', end, end + length))
  } catch (cause) {
    const error = new ModuleError('INVALID_BUNDLE_HEADER', 'Invalid bundle header')
    error.cause = cause
    throw error
  }
  return { header, start: end + length }
}

// Names in a bundle, put below its URL.
function mount (name, root) {
  if (name[0] === '/') name = '.' + name
  return name.startsWith('./') ? new URL(name, root).href : name
}

function mountAll (value, root) {
  if (typeof value === 'string') return mount(value, root)
  if (Array.isArray(value)) return value.map((value) => mountAll(value, root))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, value]) => [key, mountAll(value, root)]))
}

module.exports = function (module, source, load) {
  const root = module.url.href + '/'
  const { header, start } = parse(source)
  const files = new Map()
  let offset = start
  for (const [name, { length }] of Object.entries(header.files || {})) {
    files.set(mount(name, root), source.subarray(offset, offset + length))
    offset += length
  }

  module._source = source
  module._imports = mountAll(header.imports || {}, root)
  module._resolutions = {}
  for (const [name, imports] of Object.entries(header.resolutions || {})) {
    module._resolutions[mount(name, root)] = mountAll(imports, root)
  }
  module._protocol = module._protocol.extend({
    postresolve: (context, url) => files.has(url.href) ? url : context.postresolve(url),
    exists: (context, url, type) => files.has(url.href) || context.exists(url, type),
    read: (context, url) => files.get(url.href) || context.read(url)
  })

  if (header.main) {
    const main = mount(header.main, root)
    module._exports = load(main, { source: files.get(main), referrer: module })._exports
  }
}
