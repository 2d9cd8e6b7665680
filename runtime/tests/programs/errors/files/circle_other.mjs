import { value } from '../circle_live.mjs'
export const read = () => value
export let tried
try {
  tried = value
} catch (err) {
  tried = err.name
}
