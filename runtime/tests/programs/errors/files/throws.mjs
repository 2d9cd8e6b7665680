global.count = (global.count || 0) + 1; throw new Error('module ' + global.count)
