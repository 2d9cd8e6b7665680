console.log(Bare.platform === 'linux' || Bare.platform === 'darwin', /^(x64|arm64)$/.test(Bare.arch))
console.log(Bare.argv.length, Bare.argv[1] === __filename, Number.isInteger(Bare.pid), Bare.exitCode)
console.log(/^v\d+\.\d+\.\d+$/.test(Bare.version), Bare.version === 'v' + Bare.versions.bare)
console.log(Bare.IPC, typeof Bare.Addon, Bare.Addon.host === `${Bare.platform}-${Bare.arch}`, require.addon.host === Bare.Addon.host)
try {
  'use strict'
  Bare = 1
} catch {}
console.log(Bare !== 1, global === globalThis, global.Bare === Bare)
for (const name of [
  'Buffer', 'URL', 'URLSearchParams', 'console', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate',
  'clearImmediate', 'queueMicrotask', 'structuredClone', 'atob', 'btoa', 'process', 'performance', 'DOMException', 'fetch', 'TextEncoder',
  'require', 'module'
]) {
  console.log(name, typeof globalThis[name])
}
