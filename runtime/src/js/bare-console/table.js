// bare-console 6.2: `console.table`.

const type = require('bare-type')

// The rows as text, or `null` for what is no table.
module.exports = function formatTable(data, properties, format) {
  if (properties !== undefined && !Array.isArray(properties)) {
    throw new TypeError("The 'properties' argument must be an array")
  }
  if (data === null || typeof data !== 'object') return null

  const cell = (value) => format(value).replace(/\r\n|\r|\n/g, '\\n')
  const kind = type(data)
  if (kind.isMap()) {
    const rows = [...data].map(([key, value], i) => [String(i), cell(key), cell(value)])
    return draw(['(iteration index)', 'key', 'values'], rows)
  }
  if (kind.isSet()) {
    const rows = [...data].map((value, i) => [String(i), cell(value)])
    return draw(['(iteration index)', 'values'], rows)
  }

  const entries = Object.entries(data)
  const isRow = (value) => value !== null && typeof value === 'object'
  const columns = properties || [
    ...new Set(entries.flatMap(([, value]) => (isRow(value) ? Object.keys(value) : [])))
  ]
  const scalars = entries.some(([, value]) => !isRow(value))

  const rows = entries.map(([index, value]) => {
    const cells = columns.map((column) => {
      return isRow(value) && Object.hasOwn(value, column) ? cell(value[column]) : ''
    })
    if (scalars) cells.push(isRow(value) ? '' : cell(value))
    return [index, ...cells]
  })
  return draw(['(index)', ...columns, ...(scalars ? ['values'] : [])], rows)
}

function draw(header, rows) {
  const widths = header.map((title, i) => Math.max(...[title, ...rows.map((row) => row[i])].map(width)))
  const rule = (left, middle, right) => {
    return left + widths.map((n) => '─'.repeat(n + 2)).join(middle) + right
  }
  const line = (cells) => {
    return '│' + cells.map((cell, i) => ` ${cell}${' '.repeat(widths[i] - width(cell))} `).join('│') + '│'
  }
  return [
    rule('┌', '┬', '┐'),
    line(header),
    rule('├', '┼', '┤'),
    ...rows.map(line),
    rule('└', '┴', '┘')
  ].join('\n')
}

const COLOR = /\x1b\[[\d;?]*[a-zA-Z]/g

// Ranges of characters that take two columns, and none.
const WIDE = [
  [0x1100, 0x115f],
  [0x2329, 0x232a],
  [0x2e80, 0x303e],
  [0x3040, 0x3247],
  [0x3250, 0x4dbf],
  [0x4e00, 0xa4c6],
  [0xa960, 0xa97c],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6b],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x1b000, 0x1b001],
  [0x1f200, 0x1f251],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f900, 0x1f9ff],
  [0x1fa70, 0x1faff],
  [0x20000, 0x3fffd]
]

const EMPTY = [
  [0, 0x1f],
  [0x7f, 0x9f],
  [0x300, 0x36f],
  [0x200b, 0x200f],
  [0x20d0, 0x20ff],
  [0xfe00, 0xfe0f],
  [0xfe20, 0xfe2f],
  [0xfff9, 0xfffb],
  [0xe0100, 0xe01ef]
]

function within(ranges, code) {
  return ranges.some(([first, last]) => code >= first && code <= last)
}

function width(text) {
  let columns = 0
  for (const char of text.replace(COLOR, '')) {
    const code = char.codePointAt(0)
    if (within(WIDE, code)) columns += 2
    else if (!within(EMPTY, code)) columns++
  }
  return columns
}
