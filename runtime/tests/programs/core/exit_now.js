Bare.on('beforeExit', () => console.log('never'))
Bare.on('exit', (code) => console.log('exit', code))
setTimeout(() => {
  try {
    Bare.exit(300)
  } catch {
    console.log('never')
  } finally {
    console.log('never')
  }
  console.log('never')
}, 1)
