// not in bare
const TextDecoder = require('text-decoder')
const { StringDecoder } = require('bare-string-decoder')
const encoding = require('bare-encoding')

const text = 'aé€😀z'
const bytes = Buffer.from(text)
for (const size of [1, 2, 3, 4, 5]) {
  const decoder = new TextDecoder()
  const web = new encoding.TextDecoder()
  const parts = []
  let all = ''
  for (let i = 0; i < bytes.byteLength; i += size) {
    parts.push(decoder.push(bytes.subarray(i, i + size)))
    all += web.decode(bytes.subarray(i, i + size), { stream: true })
  }
  parts.push(decoder.end())
  console.log(JSON.stringify(parts), parts.join('') === text, all + web.decode() === text)
}

for (const hex of ['ff', 'e282', 'e28261', 'c3', 'f09f98', 'eda080', 'c080', '80', 'f4908080', 'e080', '61c3']) {
  const decoder = new TextDecoder()
  const first = decoder.push(Buffer.from(hex, 'hex'))
  console.log(hex, JSON.stringify(first + decoder.push(Buffer.from('z')) + decoder.end()))
}

for (const label of ['latin1', 'hex', 'ascii', 'utf-16le', 'base64', 'nope']) {
  try {
    console.log(new StringDecoder(label).write(Buffer.from([0x61, 0xe9])))
  } catch (err) {
    console.log(err.message)
  }
}

const { TextEncoder } = encoding
console.log(new TextEncoder().encode('é').toString('hex'), new TextEncoder().encoding, new encoding.TextDecoder('UTF8').encoding)
console.log(new TextEncoder().encodeInto('é', new Uint8Array(4)).written)
console.log(JSON.stringify(new encoding.TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61]).buffer)))
try {
  new encoding.TextDecoder('latin1')
} catch (err) {
  console.log(err.name, err.code)
}

// Half a surrogate pair is the replacement character wherever bytes are made of it.
console.log('a\ud800b', '\udc00')
console.log(encodeURIComponent(Buffer.from('\ud800').toString()))
