// bare-encoding 1.0, `/global`.

const { TextEncoder, TextDecoder } = require('bare-encoding')

globalThis.TextEncoder = TextEncoder
globalThis.TextDecoder = TextDecoder
