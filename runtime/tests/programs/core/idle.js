Bare.on('suspend', () => {
  console.log('suspend')
  setTimeout(() => {
    console.log('work goes on')
    setTimeout(() => {
      const kept = setTimeout(() => console.log('never'), 1e6)
      Bare.on('resume', () => {
        clearTimeout(kept)
        setTimeout(() => console.log('after'), 20)
      })
      Bare.idle()
      Bare.resume()
    }, 20)
  }, 20)
})
Bare.on('idle', () => console.log('idle')).on('resume', () => console.log('resume'))
Bare.suspend()
