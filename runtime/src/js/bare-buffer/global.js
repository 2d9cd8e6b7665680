// bare-buffer 3.7, `/global`.

const Buffer = require('bare-buffer')

globalThis.Buffer = Buffer
globalThis.atob = Buffer.atob
globalThis.btoa = Buffer.btoa
