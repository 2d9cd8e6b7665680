// not in bare: there the error of an imported module ends the program
import('./files/throws.mjs').catch((err) => console.log(err.message)).then(() => import('./files/throws.mjs')).catch((err) => console.log(err.message))
