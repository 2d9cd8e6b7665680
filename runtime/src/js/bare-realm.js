// bare-realm 2.0: globals of their own, which see nothing of the program's.

module.exports = class Realm {
  constructor() {
    this._handle = new native.Realm()
  }

  evaluate(code, opts = {}) {
    const { filename = '<anonymous>', offset = 0 } = opts
    return this._handle.evaluate(String(code), String(filename), Number(offset) || 0)
  }

  destroy() {}
}
