// not in bare
const assert = require('bare-assert')
const querystring = require('bare-querystring')
const semver = require('bare-semver')
const escapes = require('bare-ansi-escapes')
const channel = require('bare-diagnostics-channel')

for (const check of [
  () => assert(0),
  () => assert.ok('', 'not ok'),
  () => assert.notOk(1),
  () => assert.equal(1, '1'),
  () => assert.equal(1, 2),
  () => assert.notEqual(1, 1),
  () => assert.strictEqual(NaN, NaN),
  () => assert.strictEqual(1, '1'),
  () => assert.notStrictEqual({}, {}),
  () => assert.fail('failed'),
  () => assert.fail(),
  () => assert(false, new RangeError('mine'))
]) {
  try {
    check()
    console.log('passed')
  } catch (err) {
    console.log(err.name, err.message, err.operator)
  }
}

console.log(JSON.stringify(querystring.parse('a=1&b=x+y&a=2&c&%20=%26')), querystring.stringify({ a: [1, 2], 'b c': '&' }), querystring.escape(' '), querystring.parse('a:1;b:2', ';', ':').b)

for (const [version, range] of [['1.2.3', '^1.2.0'], ['1.3.0-beta', '^1.2.0'], ['1.2.3', '1.x || >=2'], ['0.2.5', '~0.2.3'], ['2.0.0', '1.2 - 2'], ['1.0.0-rc.2', '>=1.0.0-rc.1']]) {
  console.log(version, range, semver.satisfies(version, range), String(semver.Range.parse(range)))
}
for (const bad of ['1.2', 'x', '1.2.3.4']) {
  try {
    semver.Version.parse(bad)
  } catch (err) {
    console.log(err.name, err.message)
  }
}

console.log(JSON.stringify([escapes.colorRed, escapes.cursorUp(3), escapes.cursorPosition(2, 5), escapes.cursorPosition(2), escapes.eraseLine, escapes.modifierBold, escapes.colorBrightWhite]))

channel.subscribe('c', (data, name) => console.log(name, data))
channel.channel('c').publish('hello')
console.log(channel.hasSubscribers('c'), channel.hasSubscribers('d'))

const timers = require('bare-timers/promises')
async function main() {
  console.log(await timers.setTimeout(1, 'later'), await timers.setImmediate('soon'))
  let ticks = 0
  for await (const tick of timers.setInterval(1, 'tick')) {
    console.log(tick)
    if (++ticks === 2) break
  }
  const { AbortController } = require('bare-abort-controller')
  const controller = new AbortController()
  const waiting = timers.setTimeout(10000, null, { signal: controller.signal })
  controller.abort(new Error('stop'))
  await waiting.catch((err) => console.log(err.message))
}
main()

const punycode = require('bare-punycode')
console.log(punycode.toASCII('a@münchen.日本。x'), punycode.toUnicode('xn--mnchen-3ya.de'), punycode.encode('😀a'), punycode.decode('a-8m33k'))
try {
  punycode.decode('ls8h=')
} catch (err) {
  console.log(err.name, err.message)
}
