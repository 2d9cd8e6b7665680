// not in bare
const URL = require('bare-url')
const { URLSearchParams, fileURLToPath, pathToFileURL, format } = URL

const fields = ['href', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']
const show = (url) => console.log(fields.map((name) => JSON.stringify(url[name])).join(' '))

for (const [input, base] of [
  ['http://User:pw@Example.com:80/a/../b?c=d#e'],
  ['https://example.com:8443'],
  ['http://user@host/'],
  ['http://[::1]:3000/x'],
  ['http://münchen.de/ä?ö#ü'],
  ['pear://abc/def?x#y'],
  ['mailto:a@b.c'],
  ['file:///tmp/a%20b'],
  ['data:text/plain,hi'],
  ['../x?y', 'http://a/b/c/d'],
  ['//other/p', 'https://a/'],
  ['?q', 'http://a/b'],
  ['#f', 'http://a/b'],
  ['http://a?'],
  ['http://a/#'],
  ['  http://trim.me/\t']
]) show(new URL(input, base))

for (const input of ['', 'nope', 'http://', 'http://a b/', 'http://a:99999/']) {
  try {
    new URL(input)
    console.log('parsed', input)
  } catch (err) {
    console.log(err.name, err.code, err.message, err.input)
  }
}

function set(part, value, href = 'http://user:pw@host:81/p?q#h') {
  const url = new URL(href)
  url[part] = value
  console.log(part, JSON.stringify(value), url.href)
}
set('protocol', 'https')
set('protocol', 'pear')
set('username', 'a b')
set('password', '')
set('host', 'other:99')
set('hostname', 'other')
set('port', '80')
set('port', '')
set('port', 'x')
set('pathname', 'a b?c#d')
set('search', '?x=y')
set('search', '')
set('hash', 'z')
set('hash', '')
set('href', 'http://new/')
const invalid = new URL('http://a/')
try {
  invalid.href = 'nope'
} catch (err) {
  console.log(err.code, invalid.href)
}

console.log(URL.canParse('x'), URL.canParse('x', 'http://a'), URL.parse('x'), URL.parse('http://a').href, URL.isURL(new URL('a:b')))
console.log(JSON.stringify(new URL('http://a')), String(new URL('http://a')))

const params = new URLSearchParams('?a=1&b=2&a=3&c=%20+%zz&d=%ff&=e&f')
console.log(params.get('a'), params.getAll('a').join(), params.has('b'), params.has('b', '1'), params.get('x'), params.size, JSON.stringify(params))
params.append('n', 'é &=~!')
params.delete('a', '1')
params.set('b', 'new')
console.log(params.toString())
console.log(new URLSearchParams({ x: 1, y: 'z' }).toString(), new URLSearchParams([['k', 'v'], ['k', 'w']]).toString())
const linked = new URL('http://a/?x=1#h')
linked.searchParams.append('y', '2')
linked.searchParams.delete('x')
console.log(linked.href)
linked.search = '?z=3'
console.log(linked.searchParams.get('z'), linked.searchParams.has('y'))

console.log(fileURLToPath('file:///a/b%20c'), fileURLToPath(new URL('file:///a/../b')), pathToFileURL('/a b/#c?d%\\e').href, pathToFileURL('/dir/').href)
for (const url of ['http://a/b', 'file://host/x', 'file:///a%2fb', 'file:///a%00b']) {
  try {
    console.log(fileURLToPath(url))
  } catch (err) {
    console.log(err.name, err.code)
  }
}
console.log(format({ protocol: 'https', hostname: 'h', port: 8, pathname: 'p', query: { a: 1 }, hash: 'x' }))
console.log(format({ protocol: 'mailto:', auth: 'a', host: 'b' }))
console.log(new URL('http://u:p@h:1/p?a=1&a=2&b=3#f'))
