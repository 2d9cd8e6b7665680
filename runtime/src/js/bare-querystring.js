// bare-querystring 1.1.

exports.escape = (input) => encodeURIComponent(input)
exports.unescape = (input) => decodeURIComponent(input)

exports.parse = exports.decode = function parse(input, separator = '&', delimiter = '=') {
  const params = Object.create(null)
  for (const part of input.split(separator)) {
    if (part === '') continue
    const [name, text] = part.replaceAll('+', ' ').split(delimiter)
    const key = exports.unescape(name)
    const value = exports.unescape(text || '')
    // A name that comes again has a list of values.
    params[key] = key in params ? [params[key], value].flat() : value
  }
  return params
}

exports.stringify = exports.encode = function stringify(params, separator = '&', delimiter = '=') {
  const pairs = []
  for (const [key, values] of Object.entries(params)) {
    for (const value of [values].flat()) {
      pairs.push(exports.escape(key) + delimiter + exports.escape(value))
    }
  }
  return pairs.join(separator)
}
