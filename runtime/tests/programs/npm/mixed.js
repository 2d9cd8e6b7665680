// A program that begins with native modules cannot go on with npm's.
const Corestore = require('corestore')
console.log(typeof Corestore)
try {
  require(['auto', 'base'].join(''))
} catch (error) {
  console.log(error.code, error.message.includes('--npm'))
}
try {
  require('./with-addon')
} catch (error) {
  console.log(error.code, error.message.includes("'some-addon'"), error.message.includes('profile native'))
}
