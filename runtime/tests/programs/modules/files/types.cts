import type { Something } from './nowhere'
const value: Something = module.exports ? 'cts' : null
console.log(value)
