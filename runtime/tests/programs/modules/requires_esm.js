const counter = require('./esm/counter.mjs')
console.log(counter.default, counter.n)
counter.up()
console.log(counter.n, require('./esm/counter.mjs') === counter)
const awaits = require('./esm/awaits.mjs')
console.log(awaits.before)
try {
  console.log(awaits.after)
} catch (err) {
  console.log(err.name)
}
console.log(require('./esm/requires_back.mjs').fromBack)
import('./esm/counter.mjs').then((ns) => console.log(ns.default, ns.n)).then(later)

// However long the module awaits.
function later () {
  try {
    console.log(awaits.after)
  } catch {
    setTimeout(later, 5)
  }
}
