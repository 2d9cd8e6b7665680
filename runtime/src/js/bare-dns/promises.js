// bare-dns 2.2, `promises`.

module.exports = require('bare-dns').promises
