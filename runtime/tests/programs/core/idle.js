Bare.on('suspend', () => console.log('suspend')).on('idle', () => console.log('idle')).on('resume', () => console.log('resume'))
Bare.suspend()
setTimeout(() => {
  console.log('work goes on')
  setTimeout(() => {
    setTimeout(() => console.log('after'), 20)
    Bare.idle()
    Bare.resume()
  }, 20)
}, 20)
