// It needs autobase, so that all of its stack is npm's without being told.
const Autobase = require('autobase')
const Hypercore = require('hypercore')
console.log(typeof Autobase, typeof require('hypercore/lib/merkle-tree.js'), require.resolve('hypercore').includes('node_modules'), typeof Hypercore.createCore)
