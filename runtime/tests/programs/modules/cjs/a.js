exports.early = true
const b = require('./b')
exports.late = true
exports.seen = b.seen
