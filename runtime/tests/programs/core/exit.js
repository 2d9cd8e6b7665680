let rounds = 0
Bare.on('beforeExit', (code) => {
  console.log('beforeExit', code)
  if (++rounds === 1) setTimeout(() => console.log('more'), 1)
  else Bare.exitCode = 7
})
Bare.on('exit', (code) => console.log('exit', code))
