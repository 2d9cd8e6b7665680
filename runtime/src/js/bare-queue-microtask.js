// bare-queue-microtask 1.0: the engine's own.
module.exports = globalThis.queueMicrotask
