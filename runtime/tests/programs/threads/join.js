const { Thread } = Bare
console.log(Thread.isMainThread, Thread.self)
const shared = new SharedArrayBuffer(8)
const view = new Int32Array(shared)
const thread = new Thread({ data: { shared, n: 1, date: new Date(0), map: new Map([[1, 2]]), bytes: new Uint8Array([1, 2]) } }, (data) => {
  const view = new Int32Array(data.shared)
  while (Atomics.load(view, 1) === 0);
  console.log('in', data.n, data.date.getTime(), data.map.get(1), data.bytes.join(), Bare.argv.length)
  console.log('in', Bare.Thread.isMainThread, Bare.Thread.self.data === data, typeof require, typeof module)
  new Int32Array(data.shared)[0] = 5
  setTimeout(() => console.log('in, later'), 5)
  Bare.on('exit', (code) => console.log('in, exit', code))
})
console.log('joined', thread.joined)
Atomics.store(view, 1, 1)
thread.join()
console.log('joined', thread.joined, view[0])
thread.join()
const file = new Thread(__dirname + '/file.cjs', { data: 'hi' })
file.join()
const source = new Thread('/x/y.js', { source: 'console.log(module.filename, __filename, __dirname)' })
source.join()
try {
  const thread = new Thread({ data: () => {} }, () => {})
  thread.join()
} catch (err) {
  console.log(err.code)
}
const buffer = new ArrayBuffer(4)
new Thread({ data: buffer, transfer: [buffer] }, (buffer) => console.log('in', buffer.byteLength)).join()
console.log(buffer.byteLength)
