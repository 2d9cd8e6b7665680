// The native functions of bare-buffer, for the builtins that share them.

module.exports = native
