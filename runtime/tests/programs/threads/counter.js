// Four threads count in the same memory, and wait for each other.
const counter = new SharedArrayBuffer(8)
const view = new Int32Array(counter)
const threads = []
for (let i = 0; i < 4; i++) {
  threads.push(new Bare.Thread({ data: counter }, (counter) => {
    const view = new Int32Array(counter)
    Atomics.wait(view, 1, 0)
    for (let i = 0; i < 10000; i++) Atomics.add(view, 0, 1)
  }))
}
Atomics.store(view, 1, 1)
Atomics.notify(view, 1)
for (const thread of threads) thread.join()
console.log(view[0])
