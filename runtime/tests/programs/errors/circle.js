exports.early = true
const other = require('./files/circle_other.cjs')
exports.late = true
console.log('main', other.saw, other.main === exports, Object.keys(other.main))
