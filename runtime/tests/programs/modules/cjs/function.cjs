module.exports = function f () { return 'f' }
module.exports.extra = 'extra'
