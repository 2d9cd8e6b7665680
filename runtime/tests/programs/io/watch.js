// not in bare: its packages are not where it looks for them
const fs = require('bare-fs')
const os = require('bare-os')
const path = require('bare-path')

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'pome-watch-'))
const watcher = fs.watch(root)
const seen = new Set()

watcher
  .on('change', (type, name) => {
    seen.add(`${type} ${name}`)
    if (seen.has('rename a') && seen.has('change a')) watcher.close()
  })
  .on('close', () => {
    console.log([...seen].sort())
    fs.rmSync(root, { recursive: true })
    passing()
  })

fs.writeFileSync(path.join(root, 'a'), 'x')

try {
  fs.watch(path.join(root, 'nope'))
} catch (err) {
  console.log(err.code)
}

// Folders that are gone again before they are looked at are nothing to watch.
function passing () {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'pome-watch-'))
  const watcher = fs.watch(root, { recursive: true })
  watcher
    .on('error', (err) => console.log(err.code))
    .on('change', (type, name) => { if (name === 'last') watcher.close() })
    .on('close', () => {
      console.log('still watched')
      fs.rmSync(root, { recursive: true })
    })
  for (let i = 0; i < 300; i++) {
    const folder = path.join(root, String(i))
    fs.mkdirSync(folder)
    fs.rmdirSync(folder)
  }
  fs.writeFileSync(path.join(root, 'last'), '')
}
