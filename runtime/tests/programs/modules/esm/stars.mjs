export * from './counter.mjs'
export * as all from './counter.mjs'
