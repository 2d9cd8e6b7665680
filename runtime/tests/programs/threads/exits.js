// `Bare.exit` in a thread ends the thread.
const thread = new Bare.Thread(() => {
  setTimeout(() => Bare.exit(5), 1)
  setInterval(() => {}, 1000)
})
thread.join()
console.log('on', Bare.exitCode)
