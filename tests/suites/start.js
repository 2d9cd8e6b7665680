// Runs tests, each a file. Programs that were written for node find its `process`, as they do in Bare after this line.
require('bare-process/global')

for (const file of Bare.argv.slice(2)) require(file)
