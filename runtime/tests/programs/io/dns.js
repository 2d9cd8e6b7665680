// not in bare: its packages are not where it looks for them
const dns = require('bare-dns')

dns.lookup('127.0.0.1', (err, address, family) => {
  console.log(err, address, family)
  dns.lookup('localhost', { all: true, family: 4 }, (err, addresses) => {
    console.log(err, addresses)
    dns.promises.lookup('::1').then(console.log)
  })
})
