// bare-stream 2.13, `/promises`.

exports.pipeline = require('streamx').pipelinePromise
