const Module = module.constructor
console.log(module.url.href.endsWith('/modules/fields.js'), module.filename === __filename, module.id === module.filename)
console.log(module.dirname === __dirname, module.path === module.dirname)
console.log(module.type === Module.constants.types.SCRIPT, module.defaultType, module.cache === require.cache, module.main === module)
console.log(module.exports === exports, module.imports, typeof module.resolutions, module.builtins)
console.log(module.conditions, typeof module.protocol.exists, Object.keys(module.cache).includes(module.url.href))
const json = require('./cjs/data.json')
const loaded = Object.values(require.cache).find(({ exports }) => exports === json)
console.log(loaded.type === Module.constants.types.JSON, loaded.main === module, loaded.filename.endsWith('data.json'))
import('./esm/counter.mjs').then((namespace) => {
  const loaded = Object.values(require.cache).find(({ url }) => url.href.endsWith('counter.mjs'))
  console.log(loaded.type === Module.constants.types.MODULE, namespace.default === undefined, loaded.main === module)
})
