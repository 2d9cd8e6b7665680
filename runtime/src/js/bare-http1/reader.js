// The reader of HTTP messages, which is native.

module.exports = native
