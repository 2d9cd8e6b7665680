module.exports = async function () {
  const tried = [
    '#own', 'mapped', '#deep/one', 'swap', 'pkg/self', 'alpha', 'alpha/sub', 'alpha/feature/x', 'alpha/hidden', 'alpha/package.json',
    'beta', 'beta/lib/two', 'beta/lib', '@scope/gamma', 'main-only', '#nothing', 'needs-more', './deep', '', '@scope', 'alpha%', '#'
  ]
  for (const what of tried) {
    try {
      console.log(what, require(what))
    } catch (err) {
      console.log(what, err.name, err.code)
    }
  }
  console.log('swap', (await import('swap')).default, 'alpha', (await import('alpha')).default)
}
