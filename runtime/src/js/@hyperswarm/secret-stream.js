// @hyperswarm/secret-stream 6.9: a native secret stream over any stream of the program.

module.exports = require('pome-core/wire').SecretStream
module.exports.default = module.exports
