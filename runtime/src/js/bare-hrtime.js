// bare-hrtime 2.1: nanoseconds since some point in the past.

module.exports = exports = function hrtime(past) {
  let now = native.now()
  if (past) now -= BigInt(past[0]) * 1000000000n + BigInt(past[1])
  return [Number(now / 1000000000n), Number(now % 1000000000n)]
}

exports.bigint = () => native.now()
