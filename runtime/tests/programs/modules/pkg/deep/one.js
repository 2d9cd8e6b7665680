module.exports = 'deep one'
