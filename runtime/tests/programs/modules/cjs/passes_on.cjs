module.exports = { ...require('./named.cjs'), three: 3 }
