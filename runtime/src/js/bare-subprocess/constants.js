// bare-subprocess 6.2, `constants`: signals by name.

module.exports = require('bare-os/constants').signals
