// A module that throws while it runs: whoever asked hears of it, and the next one runs it again.
for (let i = 0; i < 2; i++) {
  try {
    require('./files/throws.cjs')
  } catch (err) {
    console.log(err.message)
  }
}
