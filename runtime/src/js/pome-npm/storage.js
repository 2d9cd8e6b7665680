// hypercore-storage 3.3 of npm's on a store of pome. A folder is the store itself, the one that native hypercores have: nothing else is written into it, and what locks it
// is the store. So npm's is given an open database in place of a folder.

const RocksDB = require('rocksdb-native')
const path = require('bare-path')

module.exports = function adapt (CorestoreStorage) {
  return class PomeStorage extends CorestoreStorage {
    constructor (db, options = {}) {
      if (typeof db !== 'string') {
        super(db, options)
        return
      }
      super(new RocksDB(path.join(db, 'db'), { readOnly: options.readOnly, store: db }), { ...options, wait: false })
      this.bootstrap = true
      this.path = db
    }
  }
}
