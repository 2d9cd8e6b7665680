// bare-crypto 1.15, `web`.

module.exports = require('bare-crypto').webcrypto
