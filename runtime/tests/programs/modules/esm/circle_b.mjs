import { sees as fromA } from './circle_a.mjs'
export const b = 'b'
export function sees () { return fromA() }
