#!/usr/bin/env bare
module.exports = new Error('x').stack.split('\n')[1].split(':').at(-2)
