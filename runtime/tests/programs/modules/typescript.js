require('./files/types.ts')
require('./files/types.cts')
for (const name of ['./files/enum.ts', './files/property.ts']) {
  try {
    require(name)
  } catch (err) {
    console.log(err.name, err.message)
  }
}
import('./files/types.mts').then((module) => console.log(Object.keys(module)))
