new Bare.Thread(() => { throw new Error('in a thread') })
setTimeout(() => console.log('never'), 100000)
