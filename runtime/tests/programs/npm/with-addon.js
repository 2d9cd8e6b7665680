// Loaded by mixed.js: what a package with an addon of its own does.
require('module').createRequire(require.main.dirname + '/node_modules/some-addon/index.js').addon()
