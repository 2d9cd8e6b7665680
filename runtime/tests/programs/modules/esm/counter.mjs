export let n = 0
export function up () { n++ }
export default 'counter'
export const url = import.meta.url
