// bare-fs 4.8, `bare-fs/promises`.

module.exports = require('bare-fs').promises
