// not in bare, where it goes on
const thread = new Bare.Thread(() => { while (true); })
setTimeout(() => {
  thread.terminate()
  thread.join()
  console.log('ended')
}, 50)
