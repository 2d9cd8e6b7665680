import counter, { n, up, url } from './esm/counter.mjs'
import * as stars from './esm/stars.mjs'
import { fromB, sees } from './esm/circle_a.mjs'
import named, { one, two, 'x-y' as xy } from './cjs/named.cjs'
import f, { extra } from './cjs/function.cjs'
import data, { list } from './cjs/data.json'
import text from './cjs/note.txt'
import { three, one as passedOn } from './cjs/passes_on.cjs'
import { after } from './esm/awaits.mjs'
import sameData from './cjs/data.json' with { type: 'json' }

console.log(counter, n, url === import.meta.resolve('./esm/counter.mjs'))
up()
console.log(n, stars.n, stars.all.n, Object.keys(stars).join())
console.log(fromB(), sees())
console.log(one, two, xy, named.one)
console.log(f(), extra)
console.log(data, list.length, sameData === data)
console.log(text, three, passedOn, after)
console.log(import.meta.main, import.meta.filename.endsWith('imports.mjs'), import.meta.dirname.endsWith('modules'))
console.log(typeof require, typeof module, this === undefined)
const { default: again } = await import('./esm/counter.mjs')
console.log(again === counter)
const dynamic = await import('./cjs/named.cjs')
console.log(dynamic.default === named)
for (const what of ['./nothing.mjs', 'nothing', './cjs/throws.js', './cjs/wrong.js']) {
  try {
    await import(what)
  } catch (err) {
    console.log(err.name, err.code)
  }
}
try {
  await import('./cjs/named.cjs', { with: { type: 'json' } })
} catch (err) {
  console.log(err.code)
}
