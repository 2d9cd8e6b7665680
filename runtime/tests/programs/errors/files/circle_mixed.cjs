const main = require('../circle_mixed.mjs')
try {
  exports.seen = String(main.value)
} catch (err) {
  exports.seen = err.name
}
exports.later = () => require('../circle_mixed.mjs')
