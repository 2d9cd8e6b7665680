// bare-subprocess 6.2, `errors`.

module.exports = require('pome-io/errors')('SubprocessError', [
  'UNKNOWN_SIGNAL',
  'IPC_CHANNEL_ALREADY_DEFINED',
  'NO_IPC_CHANNEL',
  'CHANNEL_DISCONNECTED',
  'INVALID_MESSAGE',
  'MESSAGE_TOO_LARGE',
  'UNKNOWN_SERIALIZATION_MODE'
])
