// bare-process 4.5, `global`: makes `process` a global.

global.process = require('bare-process')
module.exports = global.process
