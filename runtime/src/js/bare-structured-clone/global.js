// bare-structured-clone 2.0, `/global`.

globalThis.structuredClone = require('bare-structured-clone')
