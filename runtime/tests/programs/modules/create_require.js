// not in bare: there it is a package to be installed
const Module = require('module')
const { pathToFileURL } = require('url')
const here = pathToFileURL(__filename)
const own = Module.createRequire(here)
console.log(own('./cjs/data.json').n, own.resolve('./cjs/data.json') === require.resolve('./cjs/data.json'))
console.log(Module.resolve('./cjs/a', here).href.endsWith('/cjs/a.js'), Module.asset('./cjs', here).href.endsWith('/cjs'))
console.log(Module.load(Module.resolve('./cjs/note.txt', here)).exports)
console.log(Module.load(new URL('./made_up.js', here), 'module.exports = __filename.endsWith("made_up.js")').exports)
console.log(Module.constants.types.SCRIPT, Module.constants.types.TEXT, Module.constants.states.EVALUATED)
const protocol = new Module.Protocol({
  exists: (url) => url.href === 'memory:/a.js' || url.href === 'memory:/b.mjs',
  read: (url) => url.href === 'memory:/a.js' ? 'module.exports = require("./b.mjs").default + " read"' : 'export default "b"'
})
console.log(Module.load(new URL('memory:/a.js'), { protocol }).exports)
