// The errors of bare-ws 3.2, and the status that a connection is closed with for them.

const PROTOCOL_ERROR = 1002

const errors = require('pome-io/errors')('WebSocketError', [
  'NETWORK_ERROR',
  'NOT_CONNECTED',
  'INVALID_PROTOCOL',
  'UNEXPECTED_RSV1',
  'UNEXPECTED_RSV2',
  'UNEXPECTED_RSV3',
  'EXPECTED_MASK',
  'UNEXPECTED_MASK',
  'EXPECTED_CONTINUATION',
  'UNEXPECTED_CONTINUATION',
  'UNEXPECTED_CONTROL',
  'INVALID_ENCODING',
  'INVALID_METHOD',
  'INVALID_UPGRADE_HEADER',
  'INVALID_VERSION_HEADER',
  'INVALID_KEY_HEADER',
  'INVALID_ACCEPT_HEADER',
  'UNEXPECTED_EXTENSION',
  'UNEXPECTED_PROTOCOL',
  'INVALID_UPGRADE_STATUS',
  'UPGRADE_REJECTED',
  'INVALID_OPCODE',
  'INVALID_PAYLOAD_LENGTH',
  'INVALID_CONTROL_PAYLOAD_LENGTH',
  'MESSAGE_TOO_LARGE',
  'TOO_MANY_FRAGMENTS',
  'INVALID_UTF8',
  'INVALID_CLOSE_PAYLOAD',
  'INVALID_CLOSE_STATUS',
  'UNEXPECTED_CLOSE',
  'CONNECTION_TIMEOUT'
])

const words = {
  NOT_CONNECTED: 'Socket is not connected',
  EXPECTED_MASK: 'MASK must be set',
  UNEXPECTED_MASK: 'MASK must be unset',
  EXPECTED_CONTINUATION: 'Expected a continuation frame',
  UNEXPECTED_CONTINUATION: 'Unexpected continuation frame',
  UNEXPECTED_CONTROL: 'Unexpected control frame',
  INVALID_OPCODE: 'Invalid opcode',
  INVALID_PAYLOAD_LENGTH: 'Invalid payload length',
  INVALID_CONTROL_PAYLOAD_LENGTH: 'Control frame payload is too large',
  MESSAGE_TOO_LARGE: 'Message is too large',
  TOO_MANY_FRAGMENTS: 'Message has too many fragments',
  INVALID_UTF8: 'Invalid UTF-8',
  INVALID_CLOSE_PAYLOAD: 'Invalid close payload',
  INVALID_CLOSE_STATUS: 'Invalid close status',
  UNEXPECTED_CLOSE: 'Connection closed before a close frame was exchanged',
  CONNECTION_TIMEOUT: 'Connection timed out',
  INVALID_METHOD: 'Invalid request method',
  INVALID_UPGRADE_HEADER: 'Invalid Upgrade header',
  INVALID_VERSION_HEADER: 'Invalid Sec-WebSocket-Version header',
  INVALID_KEY_HEADER: 'Invalid Sec-WebSocket-Key header',
  INVALID_ACCEPT_HEADER: 'Invalid Sec-WebSocket-Accept header',
  INVALID_UPGRADE_STATUS: 'Invalid response status',
  UPGRADE_REJECTED: 'Upgrade rejected'
}

for (let bit = 1; bit <= 3; bit++) words[`UNEXPECTED_RSV${bit}`] = `RSV${bit} must be unset`

const statuses = { MESSAGE_TOO_LARGE: 1009, TOO_MANY_FRAGMENTS: 1009, INVALID_UTF8: 1007, CONNECTION_TIMEOUT: 1001 }

for (const code of Object.keys(words)) {
  const make = errors[code]
  errors[code] = (message = words[code], cause) => {
    const err = make(message, cause)
    err.status = statuses[code] || PROTOCOL_ERROR
    return err
  }
}

module.exports = errors
