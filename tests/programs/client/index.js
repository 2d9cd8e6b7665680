// Dials a key, and joins the connection to the terminal.
import DHT from 'hyperdht'
import b4a from 'b4a'
import process from 'bare-process'

const key = b4a.from(process.argv[2], 'hex')
const dht = new DHT()
const conn = dht.connect(key)
conn.once('open', () => console.log('connected'))

process.stdin.pipe(conn).pipe(process.stdout)
