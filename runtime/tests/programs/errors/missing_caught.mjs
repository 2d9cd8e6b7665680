async function told (load) {
  try {
    await load()
  } catch (err) {
    console.log(err.name, err.code, err instanceof SyntaxError || err.message.split('\n')[0].replace(/file:.*\/(?=[^/]*')/, ''))
  }
}

await told(() => import('./nowhere.js'))
await told(() => import('no-package'))
await told(() => import('./files/imports_missing.mjs'))
await told(() => import('./files/needs_name.mjs'))
