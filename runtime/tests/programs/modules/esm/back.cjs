const esm = require('./requires_back.mjs')
exports.read = () => {
  try {
    return esm.own
  } catch (err) {
    return err.name
  }
}
