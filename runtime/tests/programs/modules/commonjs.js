const a = require('./cjs/a')
console.log(a.early, a.late, a.seen.early, a.seen.late)
console.log(require('./cjs/data').n, require('./cjs/data.json') === require('./cjs/data'))
console.log(require('./cjs/note.txt'), require('./cjs/raw.bin').length)
console.log(require('./cjs/shebang'))
console.log(Object.keys(require.cache).every((href) => href.startsWith('file://')))
console.log(require.resolve('./cjs/a') === __dirname + '/cjs/a.js', require.main === module, module.filename === __filename, module.id === __filename)
for (const what of ['./cjs/throws', './cjs/throws', './cjs/nothing']) {
  try {
    require(what)
  } catch (err) {
    console.log(err.name, err.code, err.message.split('\n')[0].replace(__dirname, ''))
  }
}
try {
  require('./cjs/wrong')
} catch (err) {
  console.log(err instanceof SyntaxError)
}
try {
  require(1)
} catch (err) {
  console.log(err instanceof TypeError)
}
const before = require('./cjs/named.cjs')
delete require.cache[Object.keys(require.cache).find((href) => href.endsWith('named.cjs'))]
console.log(require('./cjs/named.cjs') !== before)
