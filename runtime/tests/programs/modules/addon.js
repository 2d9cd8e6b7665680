// Where an addon is looked for, and what is said of one that cannot be loaded.
const { addon, resolve, load } = require('./addons/looks')
const short = (path) => String(path).replace(/^.*\/modules\/(?=addons)/, '').replace(addon.host, 'HOST')
const here = new URL('.', 'file://' + __filename).href

function tell (what) {
  try {
    console.log(short(what()))
  } catch (error) {
    console.log(error.code, error.specifier, error.candidates && error.candidates.map(String).filter((href) => href.startsWith(here + 'addons')).map(short))
  }
}

for (const specifier of ['.', '@x/y', '@x/y@2.1.0', '@x/y@2.2.0', 'main', 'none', 'missing', './lib/own.bare', './lib/own', './lib', './lib/', '@x', '.x', 'a%b']) {
  tell(() => resolve(specifier))
}
tell(() => resolve('..', __dirname + '/addons/lib/x.js'))
tell(() => resolve('../..', __dirname + '/addons/lib/deep/x.js'))
tell(() => addon())
tell(() => addon('none'))
tell(() => load('./lib/own.bare'))
for (const url of ['builtin:x', 'linked:libx.so', 'http://x/y.bare', 'file:///x.bare']) tell(() => new Bare.Addon(new URL(url)))
try {
  Bare.Addon.resolve('none', new URL('addons/x.js', here))
} catch (error) {
  console.log(error.candidates.slice(-2).map(String))
}
console.log(addon.host === Bare.Addon.host, typeof Bare.Addon.cache)
