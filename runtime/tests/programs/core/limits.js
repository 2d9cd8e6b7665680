// Too deep a recursion can be caught, and leaves no trace.
function deep (n) {
  return deep(n + 1) + 1
}
for (let i = 0; i < 3; i++) {
  try {
    deep(0)
  } catch (err) {
    console.log(err instanceof RangeError)
  }
}
