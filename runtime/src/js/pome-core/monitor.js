// Monitors: how much of a blob, of a drive's file or of a mirror has come and gone, and how fast.

const EventEmitter = require('bare-events')
const core = require('pome-core')
const Resource = require('pome-core/resource')

// Speeds are over so many milliseconds, counted in steps.
const WINDOW = 5000
const STEP = 250

// A function that is told bytes, and answers bytes a second.
function speedometer () {
  const steps = []
  const start = Date.now()
  return (bytes = 0) => {
    const now = Date.now()
    while (steps.length > 0 && steps[0].at <= now - WINDOW) steps.shift()
    if (bytes > 0) {
      const last = steps[steps.length - 1]
      if (last !== undefined && now - last.at < STEP) last.bytes += bytes
      else steps.push({ at: now, bytes })
    }
    const sum = steps.reduce((sum, step) => sum + step.bytes, 0)
    return Math.round(sum * 1000 / Math.min(WINDOW, Math.max(1000, now - start)))
  }
}

// What a monitor counts, one way.
class Stats {
  constructor () {
    this.startTime = 0
    this.percentage = 0
    this.peers = 0
    this.speed = 0
    this.blocks = 0
    this.totalBytes = 0
    this.monitoringBytes = 0
    this.targetBytes = 0
    this.targetBlocks = 0
  }

  aim (blob) {
    this.targetBytes = blob.byteLength
    this.targetBlocks = blob.blockLength
  }

  count (bytes, speed) {
    if (this.startTime === 0) this.startTime = Date.now()
    this.speed = speed(bytes)
    this.blocks++
    this.totalBytes += bytes
    this.monitoringBytes += bytes
    this.percentage = Math.round(this.blocks / this.targetBlocks * 10000) / 100
  }
}

// Listens to cores for a monitor that has `_wants(index)`, `peers` and stats; a function ends it.
function follow (monitor, cores) {
  const count = (stats, speed) => (index, bytes) => {
    if (!monitor._wants(index)) return
    monitor[stats].count(bytes, monitor[speed])
    monitor.emit('update')
  }
  const peers = (isFirst) => {
    monitor.peers = monitor.uploadStats.peers = monitor.downloadStats.peers = cores[0].peers.length
    if (isFirst !== true && monitor._tellsPeers) monitor.emit('update')
  }
  const listeners = {
    'peer-add': peers,
    'peer-remove': peers,
    upload: count('uploadStats', 'uploadSpeedometer'),
    download: count('downloadStats', 'downloadSpeedometer')
  }
  for (const core of cores) for (const name in listeners) core.on(name, listeners[name])
  peers(true)
  return () => {
    for (const core of cores) for (const name in listeners) core.off(name, listeners[name])
  }
}

const isOf = (blob, index) => index >= blob.blockOffset && index < blob.blockOffset + blob.blockLength

class BlobMonitor extends EventEmitter {
  constructor (blobs, blob) {
    super()
    if (!blob) throw new Error('id is required')
    this.blobs = blobs
    this.id = blob
    this.peers = 0
    this.uploadSpeedometer = speedometer()
    this.downloadSpeedometer = speedometer()
    this.uploadStats = new Stats()
    this.downloadStats = new Stats()
    this.uploadStats.aim(blob)
    this.downloadStats.aim(blob)
    this._tellsPeers = true
    this._unfollow = follow(this, [blobs.core])
  }

  _wants (index) {
    return isOf(this.id, index)
  }

  downloadSpeed () { return this.downloadSpeedometer() }
  uploadSpeed () { return this.uploadSpeedometer() }

  close () {
    this._unfollow()
  }

  destroy () {
    return this.close()
  }
}

// Of a file of a drive, or of all of it.
class DriveMonitor extends Resource {
  constructor (drive, options = {}) {
    super()
    this.drive = drive
    this.blobs = null
    this.name = options.name || null
    this.entry = options.entry || null
    this.peers = 0
    this.uploadSpeedometer = null
    this.downloadSpeedometer = null
    this.uploadStats = new Stats()
    this.downloadStats = new Stats()
    this._tellsPeers = false
    this._unfollow = core.noop
    this.ready().catch(core.noop)
  }

  async _open () {
    const { drive } = this
    await drive.ready()
    this.blobs = await drive.getBlobs()
    if (this.entry === null && this.name !== null) this.entry = await drive.entry(this.name)
    if (this.entry !== null) {
      this.uploadStats.aim(this.entry.value.blob)
      this.downloadStats.aim(this.entry.value.blob)
    }
    this.uploadSpeedometer = speedometer()
    this.downloadSpeedometer = speedometer()
    this._unfollow = follow(this, this.entry === null ? [this.blobs.core, drive.core] : [this.blobs.core])
  }

  async _close () {
    this._unfollow()
    this.drive.monitors.delete(this)
  }

  _wants (index) {
    return this.entry === null || isOf(this.entry.value.blob, index)
  }

  downloadSpeed () { return this.downloadSpeedometer === null ? 0 : this.downloadSpeedometer() }
  uploadSpeed () { return this.uploadSpeedometer === null ? 0 : this.uploadSpeedometer() }
}

// Of a mirror: says how it stands again and again.
class MirrorMonitor extends EventEmitter {
  constructor (mirror, { interval = 250 } = {}) {
    super()
    this.mirror = mirror
    this.stats = null
    this.destroyed = false
    this.interval = setInterval(() => this.update(), interval)
    mirror.monitors.push(this)
    this.update()
  }

  get preloaded () { return this.mirror.preloaded }

  update () {
    if (this.destroyed) return
    const { mirror } = this
    this.stats = {
      peers: mirror.peers.length,
      download: { bytes: mirror.downloadedBytes, blocks: mirror.downloadedBlocks, speed: mirror.downloadSpeed(), progress: mirror.downloadProgress },
      upload: { bytes: mirror.uploadedBytes, blocks: mirror.uploadedBlocks, speed: mirror.uploadSpeed() }
    }
    this.emit('update', this.stats)
  }

  destroy () {
    if (this.destroyed) return
    this.update()
    this.destroyed = true
    clearInterval(this.interval)
    this.mirror.monitors = this.mirror.monitors.filter((monitor) => monitor !== this)
    this.emit('destroy')
  }
}

module.exports = { BlobMonitor, DriveMonitor, MirrorMonitor, speedometer }
