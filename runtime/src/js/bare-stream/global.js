// bare-stream 2.13, `/global`: the web's streams as globals.

const web = require('bare-stream/web')

for (const name of [
  'ReadableStream',
  'ReadableStreamDefaultController',
  'ReadableStreamDefaultReader',
  'WritableStream',
  'WritableStreamDefaultController',
  'WritableStreamDefaultWriter',
  'TransformStream',
  'TransformStreamDefaultController',
  'CountQueuingStrategy',
  'ByteLengthQueuingStrategy'
]) {
  globalThis[name] = web[name]
}
