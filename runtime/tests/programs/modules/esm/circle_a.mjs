import { b, sees as fromB } from './circle_b.mjs'
export const a = 'a'
export function sees () { return b }
export { fromB }
