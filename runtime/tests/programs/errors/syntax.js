for (const name of ['./files/broken.cjs', './files/broken.mjs', './files/broken.json']) {
  try {
    require(name)
  } catch (err) {
    console.log(name, err.name, err instanceof SyntaxError)
  }
}
// What has failed once is tried again.
try {
  require('./files/broken.cjs')
} catch (err) {
  console.log(err.name)
}
require('./files/broken.cjs')
