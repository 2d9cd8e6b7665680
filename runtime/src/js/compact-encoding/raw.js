// compact-encoding 3.5, `/raw`.

module.exports = require('compact-encoding/bytes').raw
