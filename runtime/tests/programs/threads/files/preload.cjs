global.preloaded = 'before'
