// bare-string-decoder 1.0.

exports.StringDecoder = require('text-decoder')
