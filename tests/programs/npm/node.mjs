// `start.mjs` under node, which has its own modules for Bare's.
import { register } from 'node:module'

register('./names.mjs', import.meta.url)
await import('./start.mjs')
