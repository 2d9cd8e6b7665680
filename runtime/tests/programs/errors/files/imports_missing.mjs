import './is-not-here.mjs'
console.log('never')
