// events-universal 1.0.

module.exports = require('bare-events')
