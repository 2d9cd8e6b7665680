exports.addon = require.addon
exports.resolve = (specifier, parent) => parent ? require.addon.resolve(specifier, parent) : require.addon.resolve(specifier)
exports.load = (specifier) => {
  const load = require
  return load(specifier)
}
