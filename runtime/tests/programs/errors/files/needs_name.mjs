import { nothing } from './has_name.mjs'
console.log('never', nothing)
