// Runs the app that $APP names on npm's modules, with what it takes of `pome run`: the little of Pear that it uses, and the network of the test.
import process from 'bare-process'
import constants from 'hyperdht/lib/constants.js'

const { APP, STORAGE, BOOTSTRAP } = process.env
constants.BOOTSTRAP_NODES.splice(0, Infinity, ...BOOTSTRAP.split(','))

const handlers = []
async function end (code) {
  for (const handler of handlers) await handler()
  process.exit(code)
}
process.on('SIGINT', () => end(130))

globalThis.Pear = {
  config: { storage: STORAGE, args: process.argv.slice(2) },
  teardown: (handler) => { handlers.push(handler) },
  exit: () => end(0)
}

await import('./' + APP + '/index.js')
