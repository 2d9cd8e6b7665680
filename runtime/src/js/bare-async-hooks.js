// bare-async-hooks 0.0: the names of Node's module. Nothing calls the hooks.

class AsyncHook {
  enable() {
    return this
  }

  disable() {
    return this
  }
}

class AsyncResource {
  asyncId() {
    return -1
  }

  triggerAsyncId() {
    return -1
  }
}

for (const name of ['bind', 'runInAsyncScope', 'emitDestroy']) {
  AsyncResource.prototype[name] = () => {
    throw new Error('Not implemented')
  }
}

AsyncResource.bind = AsyncResource.prototype.bind

exports.AsyncHook = AsyncHook
exports.AsyncResource = AsyncResource
exports.createHook = () => new AsyncHook()
exports.executionAsyncId = () => -1
exports.triggerAsyncId = () => -1
