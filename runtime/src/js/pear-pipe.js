// pear-pipe 1.0: the pipe to the app that started this one with pear-run; null where none did.

module.exports = function pipe () {
  const pipe = Bare.IPC
  if (pipe === null || Object.hasOwn(pipe, 'autoexit')) return pipe
  let autoexit = false
  const leave = () => globalThis.Pear.exit()
  // The app ends when the one that started it says no more.
  Object.defineProperty(pipe, 'autoexit', {
    configurable: true,
    enumerable: true,
    get: () => autoexit,
    set (value) {
      autoexit = value
      pipe.off('end', leave)
      if (autoexit) pipe.once('end', leave)
    }
  })
  pipe.autoexit = true
  return pipe
}
