const a = require('./a.js')
exports.seen = { early: a.early, late: a.late }
