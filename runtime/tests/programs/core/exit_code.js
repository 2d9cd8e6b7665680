for (const code of [300, -1, 256, 1.9, 0]) {
  Bare.exitCode = code
  console.log(Bare.exitCode)
}
