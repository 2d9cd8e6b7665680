// A module that is a bundle: what it exports is what its main file does, and its files find each other.

const Bundle = require('bare-bundle')

module.exports = function (module, source, load) {
  const bundle = Bundle.from(source).mount(module.url.href + '/')

  module._source = source
  module._imports = bundle.imports
  module._resolutions = bundle.resolutions
  module._protocol = module._protocol.extend({
    postresolve: (context, url) => bundle.exists(url.href) ? url : context.postresolve(url),
    exists: (context, url, type) => bundle.exists(url.href) || context.exists(url, type),
    read: (context, url) => bundle.read(url.href) || context.read(url)
  })

  if (bundle.main) {
    module._exports = load(bundle.main, { source: bundle.read(bundle.main), referrer: module })._exports
  }
}
