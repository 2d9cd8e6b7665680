// not in bare: there is none that is missing here
for (const load of [() => require.addon('.'), () => require('./nothing.bare'), () => new Bare.Addon(new URL('file:///x.bare'))]) {
  try {
    load()
  } catch (err) {
    console.log(err.name, err.code)
  }
}
