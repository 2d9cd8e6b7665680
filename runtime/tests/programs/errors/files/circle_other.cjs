const main = require('../circle.js')
exports.saw = Object.keys(main)
exports.main = main
