// What the modules over descriptors have in common: the native streams, and the classes of their faces.

module.exports = native
