// bare-daemon 1.2: programs that live on without the one that started them.

const { spawn } = require('bare-subprocess')

class Daemon {
  constructor(pid) {
    this.pid = pid
  }
}

exports.Daemon = Daemon

exports.spawn = function (file, args, opts) {
  if (!Array.isArray(args)) [args, opts] = [[], args === null ? opts : args]
  const { cwd, env } = opts || {}
  const started = spawn(file, args, { cwd, env, stdio: 'ignore', detached: true })
  started.unref()
  return new Daemon(started.pid)
}
