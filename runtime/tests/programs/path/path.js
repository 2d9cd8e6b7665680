// not in bare
const path = require('bare-path')

const show = (...values) => console.log(values.map((value) => JSON.stringify(value)).join(' '))
for (const [a, b] of [['/a/b/c.txt', '/a/d'], ['a//b/../c/.', '..'], ['', '/'], ['/', 'x'], ['.hidden', 'x.tar.gz'], ['a/b/', '../../..'], ['//x', './y/']]) {
  show(path.normalize(a), path.join(a, b), path.resolve('/root', a, b), path.dirname(a), path.basename(a), path.basename(a, '.txt'), path.extname(a), path.isAbsolute(a), path.relative('/' + a, '/' + b))
}
const { win32 } = path
for (const [a, b] of [['C:\\a\\b.txt', 'C:\\a\\c'], ['a/b\\..\\c', '..'], ['\\\\server\\share\\x', 'y'], ['\\', 'C:\\']]) {
  show(win32.normalize(a), win32.join(a, b), win32.resolve('C:\\root', a, b), win32.dirname(a), win32.basename(a), win32.extname(a), win32.isAbsolute(a))
}
show(path.sep, path.delimiter, win32.sep, win32.delimiter, path.posix === path)
try {
  path.join(5)
} catch (err) {
  console.log(err.name, err.message)
}
