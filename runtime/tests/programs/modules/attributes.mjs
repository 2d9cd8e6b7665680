import thing from './maps/thing.js' with { imports: './maps/map.json' }
import text from './cjs/named.cjs' with { type: 'text' }

console.log(thing, text.split('\n')[0])
