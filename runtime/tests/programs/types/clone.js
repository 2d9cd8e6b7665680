// not in bare
const structuredClone = require('bare-structured-clone')

const shared = { x: 1 }
const value = {
  n: 1,
  s: 'x',
  u: undefined,
  big: 5n,
  d: new Date(5),
  r: /a/gi,
  list: [1, , 3],
  map: new Map([[shared, 'v']]),
  set: new Set([shared]),
  shared,
  bytes: new Uint8Array([1, 2, 3, 4]).subarray(1, 3),
  buffer: Buffer.from('abc'),
  view: new DataView(new ArrayBuffer(8), 2, 4),
  url: new URL('http://a/b'),
  err: new TypeError('bad', { cause: 'why' })
}
value.self = value
const copy = structuredClone(value)
console.log(copy.self === copy, copy.shared !== shared, copy.map.has(copy.shared), copy.set.has(copy.shared))
console.log(copy.n, copy.s, 'u' in copy, copy.big === 5n, copy.d.getTime(), String(copy.r), copy.list.length, 1 in copy.list)
console.log([...copy.bytes].join(), copy.bytes.byteOffset, copy.buffer.toString(), Buffer.isBuffer(copy.buffer), copy.view.byteLength)
console.log(copy.url.href, copy.err.name, copy.err.message, copy.err.cause, copy.err instanceof TypeError)

const buffer = new Uint8Array([1, 2, 3]).buffer
const moved = structuredClone({ buffer }, { transfer: [buffer] })
console.log(moved.buffer.byteLength, buffer.byteLength)

const sab = new SharedArrayBuffer(4)
const view = structuredClone(new Int32Array(sab))
new Int32Array(sab)[0] = 7
console.log(view[0])

for (const bad of [() => {}, Symbol('s'), Promise.resolve(), new WeakMap(), { f() {} }]) {
  try {
    structuredClone(bad)
  } catch (err) {
    console.log(err.name, err.code)
  }
}

const { symbols } = structuredClone
class Point {
  constructor(x) {
    this.x = x
  }

  [symbols.serialize]() {
    return { x: this.x }
  }

  static [symbols.deserialize]({ x }) {
    return new Point(x)
  }
}
class Handle extends structuredClone.Transferable {
  constructor(id) {
    super()
    this.id = id
  }

  [symbols.detach]() {
    super[symbols.detach]()
    return this.id
  }

  static [symbols.attach](id) {
    return new Handle(id)
  }
}
const handle = new Handle(7)
const through = structuredClone({ p: new Point(3), list: [handle] }, { interfaces: [Point, Handle], transfer: [handle] })
console.log(through.p instanceof Point, through.p.x, through.list[0] instanceof Handle, through.list[0].id, handle.detached)
for (const bad of [
  () => structuredClone(new Point(1)),
  () => structuredClone(handle, { interfaces: [Handle] }),
  () => structuredClone(handle, { interfaces: [Handle], transfer: [handle] }),
  () => structuredClone(1, { transfer: [{}] })
]) {
  try {
    bad()
  } catch (err) {
    console.log(err.name, err.code)
  }
}
const packed = structuredClone.serialize({ a: [1] })
console.log(structuredClone.deserialize(packed).a[0], structuredClone.deserialize(packed) !== structuredClone.deserialize(packed))
