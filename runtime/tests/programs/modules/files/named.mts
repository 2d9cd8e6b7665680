export interface Named { name: string }
export function named<T extends string>(name: T): Named { return { name } }
