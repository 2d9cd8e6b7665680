// The functions that npm's JavaScript of the stack is run on.

module.exports = native
