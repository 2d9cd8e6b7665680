exports.one = 1
module.exports.two = 2
exports['x-y'] = 3
Object.defineProperty(exports, '__esModule', { value: true })
