// streamx 2.28: pipes, and `pipeline()`.

const StreamError = require('streamx/error')
const { READ_DONE } = require('streamx/state')

function isStream(stream) {
  return Boolean(stream._readableState) || Boolean(stream._writableState)
}

function isStreamx(stream) {
  return typeof stream._duplexState === 'number' && isStream(stream)
}

// The link between a source and what it is piped into. Each end reports here when it closes, and
// an end that closed too early takes the other with it.
class Pipe {
  constructor(from, to, cb) {
    this.from = from
    this.to = to
    this.error = null
    this.pipeToFinished = false
    this.afterPipe = cb
  }

  finished() {
    this.pipeToFinished = true
  }

  done(stream, err) {
    if (err) this.error = err

    if (stream === this.to) {
      this.to = null
      if (this.from !== null) {
        if ((this.from._duplexState & READ_DONE) === 0 || !this.pipeToFinished) {
          this.from.destroy(this.error || StreamError.PREMATURE_CLOSE('Writable stream closed'))
        }
        return
      }
    } else if (stream === this.from) {
      this.from = null
      if (this.to !== null) {
        if ((stream._duplexState & READ_DONE) === 0) {
          this.to.destroy(this.error || StreamError.PREMATURE_CLOSE('Readable stream closed'))
        }
        return
      }
    }

    const { afterPipe } = this
    this.from = this.to = this.afterPipe = null
    if (afterPipe !== null) afterPipe(this.error)
  }
}

function ignore() {}

// Joins two streams; `cb`, if given, hears of the end and takes the errors.
function link(from, to, cb) {
  const pipe = new Pipe(from, to, cb)
  if (cb !== null) from.on('error', ignore)

  if (isStreamx(to)) {
    to._writableState.pipeline = pipe
    if (cb !== null) to.on('error', ignore)
  } else {
    to.on('error', (err) => pipe.done(to, err))
    to.on('close', () => pipe.done(to, null))
  }
  to.on('finish', () => pipe.finished())
  return pipe
}

// A stream of another kind does not say that it closed early: look at its own state.
function watchForeign(stream, reads, writes, onerror) {
  stream.on('error', onerror)
  stream.on('close', () => {
    const { _readableState: readable, _writableState: writable } = stream
    const early = (reads && readable && !readable.ended) || (writes && writable && !writable.ended)
    if (early) onerror(StreamError.PREMATURE_CLOSE())
  })
}

function pipeline(...args) {
  const streams = args.flat(1)
  const done = typeof streams.at(-1) === 'function' ? streams.pop() : null
  if (streams.length < 2) throw StreamError.BAD_ARGUMENT('Pipeline requires at least 2 streams')

  let failure = null
  const fail = (err) => {
    if (!err || failure !== null) return
    failure = err
    for (const stream of streams) stream.destroy(err)
  }

  for (let i = 0; i < streams.length - 1; i++) {
    const source = streams[i]
    if (isStreamx(source)) {
      source.pipe(streams[i + 1], fail)
    } else {
      watchForeign(source, true, i > 0, fail)
      source.pipe(streams[i + 1])
    }
  }

  const last = streams.at(-1)
  if (done !== null) {
    const closes = isStreamx(last) || Boolean(last._writableState && last._writableState.autoDestroy)
    let finished = false

    last.on('error', (err) => {
      if (failure === null) failure = err
    })
    last.on('finish', () => {
      finished = true
      if (!closes) done(failure)
    })
    if (closes) {
      last.on('close', () => done(failure || (finished ? null : StreamError.PREMATURE_CLOSE())))
    }
  }
  return last
}

function pipelinePromise(...streams) {
  return new Promise((resolve, reject) => {
    pipeline(...streams, (err) => {
      if (err) reject(err)
      else resolve()
    })
  })
}

exports.isStream = isStream
exports.isStreamx = isStreamx
exports.link = link
exports.ignore = ignore
exports.pipeline = pipeline
exports.pipelinePromise = pipelinePromise
