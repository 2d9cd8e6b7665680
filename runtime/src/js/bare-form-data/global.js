// bare-form-data 1.2, `global`.

const { Blob, File, FormData } = require('bare-form-data')

Object.assign(globalThis, { Blob, File, FormData })
