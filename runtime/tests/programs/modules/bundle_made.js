// not in bare: its packages are not where it looks for them
const Bundle = require('bare-bundle')
const Module = require('bare-module')

const attempt = (name, work) => {
  try {
    console.log(name, work())
  } catch (err) {
    console.log(name, err.name, err.code, err.message.split('\n')[0])
  }
}

const bundle = new Bundle()
console.log(bundle.empty(), bundle.version, Bundle.version, bundle.id, bundle.main, bundle.root)

bundle
  .write('/main.js', 'module.exports = require("./part") + require("dep") + __filename.endsWith("made.bundle/main.js")', { main: true, imports: { dep: '/node_modules/dep/index.js', './part': { default: '/part.js', require: '/part.js' } } })
  .write('/part.js', 'module.exports = "part "')
  .write('/node_modules/dep/index.js', 'module.exports = "dep "', { alias: 'dep', executable: true })
  .write('/pic.png', Buffer.from([1, 2, 3]), { asset: true, mode: 0o600 })
  .write('/a.bare', 'x', { addon: true })
bundle.id = 'mine'

console.log([...bundle.keys()], bundle.empty(), bundle.exists('/part.js'), bundle.exists('/x'), bundle.size('/pic.png'), bundle.size('/x'), bundle.mode('/pic.png'), bundle.mode('/node_modules/dep/index.js'), bundle.mode('/x'), bundle.read('/x'), bundle.read('/part.js').toString())
console.log(bundle.imports, bundle.resolutions, bundle.addons, bundle.assets)
for (const [key, data, mode] of bundle) console.log(key, data.byteLength, mode.toString(8))

const buffer = bundle.toBuffer()
console.log(buffer.toString('latin1'))
console.log(bundle.toBuffer({ indent: 2 }).toString('latin1').split('\n').slice(0, 6).join('|'), bundle.toBuffer({ shared: true }).buffer instanceof SharedArrayBuffer)

const again = Bundle.from(Buffer.concat([Buffer.from('#!/usr/bin/env bare\n'), buffer]))
console.log(again.toBuffer().equals(buffer), again.id, again.main, again.read('/part.js').toString())
console.log(Bundle.from(buffer.toString('latin1').replace('\x01\x02\x03', 'abc')).read('/pic.png').toString(), Bundle.from(again) === again, Bundle.isBundle(again), Bundle.isBundle({}), Bundle.isBundle({ [Symbol.for('bare.bundle.kind')]: 0 }), Bundle.isBundle(null))

const show = (bundle) => console.log(bundle.root, bundle.main, [...bundle.keys()], bundle.imports, bundle.resolutions, bundle.addons, bundle.assets)
const mounted = bundle.mount('file:///dir/made.bundle/')
show(mounted)
show(mounted.unmount('file:///dir/made.bundle/'))
show(mounted.unmount(new URL('file:///dir/other/deep/')))
show(mounted.unmount('http://host/'))
show(bundle.mount(new URL('file:///d/'), { conditions: { require: 'file:///r/', default: 'file:///e/' } }))
attempt('overwrites', () => new Bundle().write('/a', '').write('./a', '').mount('file:///d/'))
show(new Bundle().write('c:/a', '').write('\\b', '').mount('file:///d/'))

console.log(Module.load(new URL('file:///dir/made.bundle'), buffer).exports)
console.log(bundle)

for (const wrong of [5, undefined]) {
  attempt('id', () => { bundle.id = wrong })
  attempt('main', () => { bundle.main = wrong })
  attempt('imports', () => { bundle.imports = wrong })
  attempt('imports entry', () => { bundle.imports = { a: wrong } })
  attempt('resolutions', () => { bundle.resolutions = wrong })
  attempt('addons', () => { bundle.addons = wrong })
  attempt('assets entry', () => { bundle.assets = [wrong] })
  attempt('write', () => bundle.write(wrong, ''))
}
for (const wrong of ['', 'x', '5']) attempt(JSON.stringify(wrong), () => [...Bundle.from(wrong).keys()])
attempt('too long', () => Bundle.from('42\n{"files":{"/a":{"offset":0,"length":99}}}\nab').read('/a').toString())
