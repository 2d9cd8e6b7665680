// compact-encoding 3.5: the codecs of network addresses.

const { need, uint8, uint16 } = require('compact-encoding/integers')

const ipv4 = {
  preencode(state) {
    state.end += 4
  },
  encode(state, host) {
    const end = state.start + 4
    for (const part of host.split('.')) state.buffer[state.start++] = Number(part)
    state.start = end
  },
  decode(state) {
    need(state, 4)
    const { buffer, start } = state
    state.start += 4
    return `${buffer[start]}.${buffer[start + 1]}.${buffer[start + 2]}.${buffer[start + 3]}`
  }
}

// The groups of a part of an address that has no `::` in it.
function groups(part) {
  return part === '' ? [] : part.split(':').map((group) => parseInt(group, 16))
}

const ipv6 = {
  preencode(state) {
    state.end += 16
  },
  encode(state, host) {
    const [head, tail] = host.split('::')
    const front = groups(head)
    const back = tail === undefined ? [] : groups(tail)
    // `::` stands for as many zero groups as are missing.
    const zeros = new Array(Math.max(0, 8 - front.length - back.length)).fill(0)
    for (const group of [...front, ...zeros, ...back]) {
      state.buffer[state.start++] = group >>> 8
      state.buffer[state.start++] = group
    }
  },
  decode(state) {
    need(state, 16)
    const parts = []
    for (let i = 0; i < 8; i++) {
      const high = state.buffer[state.start++]
      parts.push((high * 256 + state.buffer[state.start++]).toString(16))
    }
    return parts.join(':')
  }
}

function familyOf(host) {
  return host.includes(':') ? 6 : 4
}

function codecOf(family) {
  return family === 4 ? ipv4 : ipv6
}

const ip = {
  preencode(state, host) {
    const family = familyOf(host)
    uint8.preencode(state, family)
    codecOf(family).preencode(state)
  },
  encode(state, host) {
    const family = familyOf(host)
    uint8.encode(state, family)
    codecOf(family).encode(state, host)
  },
  decode(state) {
    return codecOf(uint8.decode(state)).decode(state)
  }
}

function address(hosts, family) {
  return {
    preencode(state, { host, port }) {
      hosts.preencode(state, host)
      uint16.preencode(state, port)
    },
    encode(state, { host, port }) {
      hosts.encode(state, host)
      uint16.encode(state, port)
    },
    decode(state) {
      const version = family || (state.start < state.end && state.buffer[state.start])
      const host = hosts.decode(state)
      return { host, family: family || version, port: uint16.decode(state) }
    }
  }
}

module.exports = {
  port: uint16,
  ipv4,
  ipv4Address: address(ipv4, 4),
  ipv6,
  ipv6Address: address(ipv6, 6),
  ip,
  ipAddress: address(ip, 0)
}
