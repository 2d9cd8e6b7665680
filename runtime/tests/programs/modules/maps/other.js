module.exports = 'other'
