import back from './back.cjs'
export const own = 'own'
export const fromBack = back.read()
