// z32 1.1: base 32 in the alphabet in which keys are written.

exports.ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769'
exports.encode = native.encode
exports.decode = native.decode
