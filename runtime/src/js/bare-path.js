// bare-path 3.1: paths of this platform.

module.exports = Bare.platform === 'win32' ? require('bare-path/win32') : require('bare-path/posix')
