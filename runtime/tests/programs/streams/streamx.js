// not in bare
const { Readable, Writable, Duplex, Transform, PassThrough, pipeline, pipelinePromise, getStreamError, isStreamx, isDisturbed } = require('streamx')

const log = (...args) => console.log(args.map(String).join(' '))

function watch(name, stream) {
  for (const event of ['open', 'end', 'finish', 'close', 'pipe', 'piping']) stream.on(event, () => log(name, event))
  stream.on('error', (err) => log(name, 'error', err.message))
  return stream
}

async function closed(stream) {
  if (!stream.destroyed) await new Promise((resolve) => stream.on('close', resolve))
}

async function main() {
  log('-- readable')
  let n = 0
  const r = watch('r', new Readable({
    highWaterMark: 2,
    byteLength: () => 1,
    open(cb) {
      log('_open')
      queueMicrotask(() => cb(null))
    },
    read(cb) {
      log('_read', n)
      this.push(n < 4 ? 'chunk' + n++ : null)
      cb(null)
    },
    destroy(cb) {
      log('_destroy')
      cb(null)
    }
  }))
  r.on('data', (data) => log('data', data))
  await closed(r)

  log('-- writable')
  const w = watch('w', new Writable({
    highWaterMark: 3,
    byteLength: () => 1,
    write(data, cb) {
      log('_write', data)
      setImmediate(cb, null)
    },
    final(cb) {
      log('_final')
      cb(null)
    }
  }))
  w.on('drain', () => log('drain'))
  for (let i = 0; i < 4; i++) log('write', w.write(i))
  Writable.drained(w).then((ok) => log('drained', ok))
  w.cork()
  w.write('corked')
  setTimeout(() => {
    w.uncork()
    w.end('last')
  }, 5)
  await closed(w)

  log('-- writev')
  const batches = watch('batches', new Writable({
    writev(batch, cb) {
      log('_writev', batch.join())
      setImmediate(cb, null)
    }
  }))
  for (let i = 0; i < 5; i++) batches.write(i)
  batches.end()
  await closed(batches)

  log('-- pipeline')
  const upper = new Transform({
    transform(data, cb) {
      cb(null, data.toUpperCase())
    },
    flush(cb) {
      cb(null, 'END')
    }
  })
  const sink = []
  await pipelinePromise(Readable.from(['a', 'b']), upper, new PassThrough(), new Writable({
    write(data, cb) {
      sink.push(data)
      cb(null)
    }
  }))
  log(sink.join())

  log('-- errors travel')
  const failing = new Transform({
    transform(data, cb) {
      cb(new Error('no ' + data))
    }
  })
  const last = watch('last', new Writable())
  await new Promise((resolve) => pipeline(Readable.from(['x']), failing, last, (err) => resolve(log('pipeline', err.message))))

  const early = watch('early', new Readable())
  const into = watch('into', new Writable())
  early.pipe(into, (err) => log('piped', err && err.message))
  early.destroy()
  await closed(into)
  log(getStreamError(early), getStreamError(early, { all: true }).code)

  log('-- iteration')
  async function* source() {
    try {
      for (let i = 0; i < 10; i++) yield i
    } finally {
      log('returned')
    }
  }
  const from = Readable.from(source())
  for await (const i of from) {
    log(i)
    if (i === 2) break
  }
  log(from.destroyed)
  const broken = new Readable()
  setTimeout(() => broken.destroy(new Error('broken')), 1)
  try {
    for await (const data of broken) log(data)
  } catch (err) {
    log('caught', err.message)
  }

  log('-- text')
  const text = new Readable({ encoding: 'utf8' })
  const euro = Buffer.from('a€b')
  text.push(euro.subarray(0, 2))
  text.push(euro.subarray(2, 3))
  text.push(euro.subarray(3))
  text.push(null)
  for await (const part of text) log(JSON.stringify(part))

  const back = new Readable()
  back.push('second')
  back.unshift('first')
  back.push(null)
  for await (const part of back) log(part)

  log('-- paused')
  const lazy = new Readable({
    highWaterMark: 0,
    read(cb) {
      log('asked')
      this.push('one')
      cb(null)
    }
  })
  lazy.on('readable', () => log('readable'))
  log(lazy.read())
  await new Promise((resolve) => setTimeout(resolve, 2))
  log(lazy.read(), isStreamx(lazy), isDisturbed(lazy))
  lazy.destroy()

  const echo = new Duplex({
    write(data, cb) {
      this.push(data)
      cb(null)
    },
    final(cb) {
      this.push(null)
      cb(null)
    }
  })
  watch('echo', echo).on('data', (data) => log('echo', data))
  echo.end('hello')
  await closed(echo)
}

main()
