// Stays until it is killed.
setTimeout(() => {}, 1e9)
console.log('"here"')
