// rabin-native 2.0: chunks of data, cut where the data itself says so.

const rabin = require('pome-npm')
const core = require('pome-core')

class RabinChunker {
  constructor ({ minSize = 512 * 1024, maxSize = 8 * 1024 * 1024 } = {}) {
    this._id = core.own(this, rabin.rabinNew(minSize, maxSize))
    this._offset = 0
  }

  * push (data) {
    while (true) {
      const [used, length] = rabin.rabinPush(this._id, data)
      if (used === 0) return
      data = data.subarray(used)
      const offset = this._offset
      this._offset += length
      yield { length, offset }
    }
  }

  end () {
    const length = rabin.rabinCount(this._id)
    return length === 0 ? null : { length, offset: this._offset }
  }
}

exports.Chunker = RabinChunker
