// A thread that nobody joined keeps the process until it ends; also after `Bare.exit`.
new Bare.Thread(() => setTimeout(() => console.log('thread'), 100))
Bare.on('exit', () => console.log('exit'))
Bare.exit(4)
