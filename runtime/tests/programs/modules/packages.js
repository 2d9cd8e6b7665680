const load = require('./pkg/entry.cjs')
load()
