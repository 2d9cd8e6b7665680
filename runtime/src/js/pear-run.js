// pear-run 1.0: starts an app beside this one, and gives a pipe to it. It is a program of its own: whoever may start one may start an app.

const { spawn } = require('bare-subprocess')
const path = require('bare-path')

function outside (link) {
  const error = new Error(`The path "${link}" escapes the root of the app`)
  error.code = 'ERR_INVALID_INPUT'
  return error
}

// Where it is, for `pome run`: what is neither a link nor a path from the root is a file of this app, at the version that runs.
function locate (link, app) {
  if (/^(pear|file):\/\//.test(link)) {
    const own = app.key === null ? null : app.applink
    const rest = own !== null && link.startsWith(own) ? link.slice(own.length) : null
    return rest === null || !/^([/?#]|$)/.test(rest) ? link : pinned(app) + rest
  }
  if (path.isAbsolute(link)) return link
  const file = path.posix.normalize(link)
  if (file === '..' || file.startsWith('../')) throw outside(link)
  return app.key === null ? path.join(app.dir, file) : `${pinned(app)}/${file}`
}

function pinned (app) {
  return app.applink.replace('pear://', `pear://${app.fork}.${app.length}.`)
}

module.exports = function run (link, args = []) {
  const { Pear } = globalThis
  const app = Pear.app
  const started = spawn(Pear.constructor.RUNTIME, ['run', '--trust', locate(String(link), app), ...args], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    serialization: 'binary'
  })
  const pipe = started.stdio[3]
  started.once('exit', (exitCode) => {
    if (exitCode !== 0) pipe.emit('crash', { exitCode })
  })
  pipe.on('end', () => pipe.end())
  return pipe
}
