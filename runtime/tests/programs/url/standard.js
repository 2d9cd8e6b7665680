// not in bare
// Where Bare 1.33 and the standard differ, this is the standard.
const URL = require('bare-url')

console.log(new URL('#x', 'http://a/b?c').href)
console.log(new URL('http://h/\ud800?\udfff').href)
console.log(new URL('https://u:p@h:8443/x').origin, new URL('data:x').origin, new URL('file:///x').origin)

const params = new URL('http://a/?b=1&a=2&b=3').searchParams
params.sort()
console.log([...params.keys()].join(), [...params.values()].join(), [...params.entries()].join(' '))
params.forEach((value, name, all) => console.log(name, value, all === params))
