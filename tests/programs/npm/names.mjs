// What node has under other names.
const NAMES = {
  'bare-process': 'node:process',
  'bare-path': 'node:path',
  'bare-fs/promises': 'node:fs/promises',
  'bare-pipe': new URL('./pipe.mjs', import.meta.url).href
}

export function resolve (specifier, context, next) {
  return next(NAMES[specifier] || specifier, context)
}
