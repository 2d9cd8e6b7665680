import { type Named, named } from './named.mts'
export type { Named }
export const own: Named = named<string>('mts')
console.log(own.name, import.meta.filename.endsWith('types.mts'))
