// bare-url 2.5: its errors.

class URLError extends Error {
  constructor(message, code, caller = URLError) {
    super(`${code}: ${message}`)
    this.code = code
    if (Error.captureStackTrace) Error.captureStackTrace(this, caller)
  }

  get name() {
    return 'URLError'
  }

  static INVALID_URL(message, input) {
    const err = new URLError(message, 'INVALID_URL', URLError.INVALID_URL)
    err.input = input
    return err
  }

  static INVALID_URL_SCHEME(message = 'Invalid URL') {
    return new URLError(message, 'INVALID_URL_SCHEME', URLError.INVALID_URL_SCHEME)
  }

  static INVALID_FILE_URL_HOST(message = 'Invalid file: URL host') {
    return new URLError(message, 'INVALID_FILE_URL_HOST', URLError.INVALID_FILE_URL_HOST)
  }

  static INVALID_FILE_URL_PATH(message = 'Invalid file: URL path') {
    return new URLError(message, 'INVALID_FILE_URL_PATH', URLError.INVALID_FILE_URL_PATH)
  }

  static INVALID_ARG_VALUE(message = 'Invalid argument value') {
    return new URLError(message, 'INVALID_ARG_VALUE', URLError.INVALID_ARG_VALUE)
  }
}

module.exports = URLError
