// streamx 2.28: the errors of streams, told apart by `code`.

class StreamError extends Error {
  constructor(message, code, caller = StreamError) {
    super(message)
    this.code = code
    if (Error.captureStackTrace) Error.captureStackTrace(this, caller)
  }

  get name() {
    return 'StreamError'
  }

  static STREAM_DESTROYED() {
    return new StreamError('Stream was destroyed', 'STREAM_DESTROYED', StreamError.STREAM_DESTROYED)
  }

  static PREMATURE_CLOSE(message = 'Premature close') {
    return new StreamError(message, 'PREMATURE_CLOSE', StreamError.PREMATURE_CLOSE)
  }

  static ABORTED() {
    return new StreamError('Stream aborted', 'ABORTED', StreamError.ABORTED)
  }

  static BAD_ARGUMENT(message = 'Bad argument') {
    return new StreamError(message, 'BAD_ARGUMENT', StreamError.BAD_ARGUMENT)
  }

  static isStreamDestroyed(err) {
    return err && err.code === 'STREAM_DESTROYED'
  }

  static isPrematureClose(err) {
    return err && err.code === 'PREMATURE_CLOSE'
  }

  static isAborted(err) {
    return err && err.code === 'ABORTED'
  }

  static isBadArgument(err) {
    return err && err.code === 'BAD_ARGUMENT'
  }
}

module.exports = StreamError
