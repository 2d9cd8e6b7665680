// An ES module in a circle is null for whoever requires it.
import other from './files/circle_mixed.cjs'
export const value = 'of the ES module'
console.log('main', other.seen, other.later().value)
