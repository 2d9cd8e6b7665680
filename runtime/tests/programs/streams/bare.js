// not in bare
const stream = require('bare-stream')
const { Readable, Writable, Duplex, Transform, PassThrough, pipeline, finished, duplexPair } = stream
const promises = require('bare-stream/promises')

const log = (...args) => console.log(args.map((x) => (Buffer.isBuffer(x) ? `<${x}>` : String(x))).join(' '))

class Source extends Readable {
  constructor(parts) {
    super()
    this.parts = parts
  }

  _construct(cb) {
    log('_construct')
    cb(null)
  }

  _read(size) {
    log('_read', size)
    this.push(this.parts.length > 0 ? this.parts.shift() : null)
  }

  _destroy(err, cb) {
    log('_destroy', err)
    cb(null)
  }
}

class Sink extends Writable {
  _write(chunk, encoding, cb) {
    log('_write', chunk, encoding)
    setImmediate(cb, null)
  }

  _final(cb) {
    log('_final')
    cb(null)
  }
}

async function main() {
  const source = new Source(['a', Buffer.from('b')])
  const sink = new Sink()
  await promises.pipeline(source, new PassThrough(), sink)
  log(source.closed, sink.closed, stream.isReadable(source), stream.isWritable(sink))

  const hex = new Sink()
  hex.on('finish', () => log('finish'))
  hex.write('6869', 'hex', (err) => log('written', err))
  hex.end('é', 'latin1', (err) => log('ended', err))
  await new Promise((resolve) => finished(hex, resolve))

  const double = new Transform({
    transform(chunk, encoding, cb) {
      this.push(chunk)
      cb(null, chunk)
    }
  })
  double.on('data', (chunk) => log('data', chunk))
  double.end('x')
  await new Promise((resolve) => finished(double, resolve))

  const [a, b] = duplexPair()
  b.on('data', (chunk) => log('b got', chunk)).on('end', () => b.end('bye'))
  a.on('data', (chunk) => log('a got', chunk))
  a.write('hello')
  a.end()
  await Promise.all([a, b].map((side) => new Promise((resolve) => finished(side, resolve))))

  const failing = new Readable({
    read() {
      this.destroy(new Error('gone'))
    }
  })
  finished(failing, (err) => log('finished', err.message, stream.isErrored(failing), failing.errored.message))
  failing.resume()
  await new Promise((resolve) => setImmediate(resolve))

  const { AbortController } = require('bare-abort-controller')
  const controller = new AbortController()
  const aborted = stream.addAbortSignal(controller.signal, new Readable())
  finished(aborted, (err) => log('aborted', err.message))
  controller.abort(new Error('enough'))
  await new Promise((resolve) => setImmediate(resolve))

  const { ReadableStream, WritableStream, TransformStream } = require('bare-stream/web')
  const web = new ReadableStream({
    start(controller) {
      controller.enqueue('one')
      controller.enqueue('two')
      controller.close()
    }
  })
  const seen = []
  await web.pipeTo(new WritableStream({
    write(chunk) {
      seen.push(chunk)
    }
  }))
  log(seen.join())

  const reader = new ReadableStream({
    pull(controller) {
      controller.enqueue('pulled')
      controller.close()
    }
  }).getReader()
  log(JSON.stringify(await reader.read()), JSON.stringify(await reader.read()))
  await reader.closed

  const shout = new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk + '!')
    }
  })
  const writer = shout.writable.getWriter()
  writer.write('hey')
  writer.close()
  for await (const chunk of shout.readable) log(chunk)

  const node = Readable.fromWeb(ReadableStream.from(['w']))
  for await (const chunk of node) log(chunk)
}

main()
