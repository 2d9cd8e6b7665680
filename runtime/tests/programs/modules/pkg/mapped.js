module.exports = 'mapped'
