// bare-abort-controller 1.1, `/global`.

const { AbortController, AbortSignal } = require('bare-abort-controller')

globalThis.AbortController = AbortController
globalThis.AbortSignal = AbortSignal
