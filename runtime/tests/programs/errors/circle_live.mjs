import { read, tried } from './files/circle_other.mjs'
export const value = 'set'
console.log(tried, read())
