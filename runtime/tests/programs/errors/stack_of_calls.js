function deep () {
  return deep() + 1
}
try {
  deep()
} catch (err) {
  console.log(err instanceof RangeError)
}
deep()
