// not in bare: its packages are not where it looks for them
const os = require('bare-os')
const Signal = require('bare-signals')
const process = require('bare-process')

const signal = new Signal('SIGUSR2')
signal.on('signal', (number) => {
  console.log('signal', number === os.constants.signals.SIGUSR2)
  signal.close().then(() => {
    console.log('closed')
    onProcess()
  })
})
signal.start()
os.kill(os.pid(), 'SIGUSR2')

try {
  new Signal('SIGNOTHING')
} catch (err) {
  console.log(err.name, err.code)
}

function onProcess() {
  const wait = setTimeout(() => {}, 60000)
  process.once('SIGINT', (name) => {
    console.log('process', name)
    clearTimeout(wait)
    // With nobody who listens any more the signal does what it does by default.
    setTimeout(() => console.log('not reached'), 60000)
    os.kill(os.pid(), 'SIGINT')
  })
  os.kill(os.pid(), 'SIGINT')
}
