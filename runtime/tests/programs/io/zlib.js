// not in bare: its packages are not where it looks for them
const zlib = require('bare-zlib')

const text = 'a text that says the same, a text that says the same, a text that says the same. '.repeat(2000)
for (const [pack, unpack] of [['deflate', 'inflate'], ['deflateRaw', 'inflateRaw'], ['gzip', 'gunzip']]) {
  const packed = zlib[pack + 'Sync'](text)
  console.log(pack, packed.byteLength < text.length / 50, zlib[unpack + 'Sync'](packed).toString() === text)
}

// What others have packed.
console.log(zlib.inflateSync(Buffer.from('789ccb48cdc9c95728cf2fca490100 1a0b045d'.replace(' ', ''), 'hex')).toString())
console.log(zlib.gunzipSync(Buffer.from('1f8b0800000000000003cb48cdc9c907008 6a6103605000000'.replace(' ', ''), 'hex')).toString())

for (const attempt of [
  () => zlib.inflateSync(Buffer.from('nope')),
  () => zlib.gunzipSync(zlib.gzipSync(text), { maxOutputLength: 100 })
]) {
  try {
    attempt()
  } catch (err) {
    console.log(err.name, err.code)
  }
}

zlib.gzip(text, (err, packed) => {
  zlib.gunzip(packed, (err, data) => {
    console.log('callback', err, data.toString() === text)
    zlib.inflate(Buffer.from('nope'), (err) => console.log(err.code))
    streams()
  })
})

function streams() {
  const pack = zlib.createGzip({ level: 9 })
  const unpack = zlib.createGunzip()
  const chunks = []
  pack.pipe(unpack).on('data', (data) => chunks.push(data)).on('end', () => console.log('piped', Buffer.concat(chunks).toString() === text))
  for (let i = 0; i < text.length; i += 1000) pack.write(text.slice(i, i + 1000))
  pack.end()
}
