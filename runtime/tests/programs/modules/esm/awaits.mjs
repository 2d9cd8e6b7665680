export let before = 'before'
await new Promise((resolve) => setTimeout(resolve, 1))
export const after = 'after'
