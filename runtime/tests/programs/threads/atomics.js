// not in bare
const { Mutex, Semaphore, Condition, Barrier, Once } = require('bare-atomics')

const COUNT = 4
const TURNS = 500

function run (data, callback) {
  const threads = []
  for (let i = 0; i < COUNT; i++) threads.push(new Bare.Thread({ data }, callback))
  return () => threads.forEach((thread) => thread.join())
}

// A counter that is no atomic: only one may be at it at a time.
{
  const mutex = new Mutex()
  const counter = new SharedArrayBuffer(4)
  const join = run({ mutex: mutex.handle, counter, turns: TURNS }, ({ mutex, counter, turns }) => {
    const { Mutex } = require('bare-atomics')
    const lock = Mutex.from(mutex)
    const view = new Int32Array(counter)
    for (let i = 0; i < turns; i++) {
      lock.lock()
      view[0] = view[0] + 1
      lock.unlock()
    }
  })
  join()
  console.log(new Int32Array(counter)[0])
  console.log(mutex.tryLock(), mutex.held)
  try {
    mutex.lock()
  } catch (err) {
    console.log(err.message)
  }
  mutex.unlock()
  try {
    mutex.unlock()
  } catch (err) {
    console.log(err.message)
  }
  mutex.destroy()
  const recursive = new Mutex({ recursive: true })
  recursive.lock()
  recursive.lock()
  recursive.unlock()
  console.log(recursive.held)
  recursive.unlock()
  console.log(recursive.held)
}

{
  const semaphore = new Semaphore(0)
  const join = run(semaphore.handle, (handle) => {
    const { Semaphore } = require('bare-atomics')
    Semaphore.from(handle).post()
  })
  for (let i = 0; i < COUNT; i++) semaphore.wait()
  join()
  console.log(semaphore.tryWait())
}

{
  const mutex = new Mutex()
  const condition = new Condition()
  const ready = new SharedArrayBuffer(4)
  const join = run({ mutex: mutex.handle, condition: condition.handle, ready }, ({ mutex, condition, ready }) => {
    const { Mutex, Condition } = require('bare-atomics')
    const lock = Mutex.from(mutex)
    lock.lock()
    new Int32Array(ready)[0]++
    lock.unlock()
    Condition.from(condition).signal()
  })
  mutex.lock()
  while (new Int32Array(ready)[0] < COUNT) condition.wait(mutex)
  console.log(new Int32Array(ready)[0], mutex.held)
  join()
  console.log(condition.wait(mutex, 5))
  mutex.unlock()
}

{
  const barrier = new Barrier(COUNT + 1)
  const once = new Once()
  const counts = new SharedArrayBuffer(12)
  const join = run({ barrier: barrier.handle, once: once.handle, counts }, ({ barrier, once, counts }) => {
    const { Barrier, Once } = require('bare-atomics')
    const view = new Int32Array(counts)
    Atomics.add(view, 0, 1)
    const was = Barrier.from(barrier).wait()
    if (was) Atomics.add(view, 1, 1)
    Once.from(once).run(() => Atomics.add(view, 2, 1))
  })
  const view = new Int32Array(counts)
  if (barrier.wait()) Atomics.add(view, 1, 1)
  console.log(view[0])
  join()
  console.log(view[1], view[2])
}
