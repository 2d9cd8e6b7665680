// Loads npm's modules: those of the folder node_modules beside this file, or those of tests/interop in a checkout.
const fs = require('fs')
const path = require('path')
const { createRequire } = require('module')

const beside = fs.existsSync(path.join(__dirname, 'node_modules'))
module.exports = createRequire(beside ? __filename : path.join(__dirname, '../../../tests/interop/package.json'))
