// not in bare: there a loop without end cannot be ended from outside
const thread = new Bare.Thread(() => { while (true) {} })
setTimeout(() => {
  thread.terminate()
  thread.join()
  console.log('over')
}, 20)
