module.exports = 'thing, and ' + require('other')
