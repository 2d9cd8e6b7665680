// streamx 2.28: the one number in which a stream keeps its state, `_duplexState`.
//
// The places of the bits are the package's: a stream of another copy of streamx, as npm code may
// bring along, reads this number too (`READ_DONE` of a source it pipes from, for example).

const read = (n) => 1 << (4 + n)
const write = (n) => 1 << (18 + n)

// Both halves.
exports.OPENING = 1 // not opened yet
exports.PREDESTROYING = 2
exports.DESTROYING = 4
exports.DESTROYED = 8

// The readable half.
exports.READ_ACTIVE = read(0) // a callback of the owner is running
exports.READ_UPDATING = read(1) // inside update()
exports.READ_PRIMARY = read(2) // open, and neither ending nor destroyed: nothing but data to do
exports.READ_QUEUED = read(3)
exports.READ_RESUMED = read(4)
exports.READ_PIPE_DRAINED = read(5)
exports.READ_ENDING = read(6)
exports.READ_EMIT_DATA = read(7)
exports.READ_EMIT_READABLE = read(8)
exports.READ_EMITTED_READABLE = read(9)
exports.READ_DONE = read(10)
exports.READ_NEXT_TICK = read(11)
exports.READ_NEEDS_PUSH = read(12)
exports.READ_READ_AHEAD = read(13)

// The writable half.
exports.WRITE_ACTIVE = write(0)
exports.WRITE_UPDATING = write(1)
exports.WRITE_PRIMARY = write(2)
exports.WRITE_QUEUED = write(3)
exports.WRITE_UNDRAINED = write(4)
exports.WRITE_DONE = write(5)
exports.WRITE_EMIT_DRAIN = write(6)
exports.WRITE_NEXT_TICK = write(7)
exports.WRITE_WRITING = write(8)
exports.WRITE_FINISHING = write(9)
exports.WRITE_CORKED = write(10)

exports.DESTROY_STATUS = exports.DESTROYING | exports.DESTROYED | exports.PREDESTROYING
exports.OPEN_STATUS = exports.DESTROY_STATUS | exports.OPENING
exports.DONE = exports.READ_DONE | exports.WRITE_DONE
exports.ACTIVE = exports.READ_ACTIVE | exports.WRITE_ACTIVE
exports.TICKING = exports.READ_NEXT_TICK | exports.WRITE_NEXT_TICK
