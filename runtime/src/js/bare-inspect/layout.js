// bare-inspect 3.1: the parts of an inspected value, and how they are broken into lines.
//
// A part has a `length`, the columns it takes on one line, and `breaks`, true when it cannot be on
// one line. `write({ indent, offset, pad })` gives its text: `indent` levels deep, behind `offset`
// columns that are written already, at least `pad` columns wide.

function indented(indent, offset, text) {
  return offset > 0 ? text : '  '.repeat(indent) + text
}

class Leaf {
  constructor(text, paint, depth) {
    this.length = text.length
    this.breaks = text.includes('\n')
    this.text = this.breaks ? text.replaceAll('\n', '\n' + '  '.repeat(depth)) : text
    this.paint = paint
  }

  write({ indent = 0, offset = 0, pad = 0 } = {}) {
    return indented(indent, offset, this.paint(this.text.padStart(pad, ' ')))
  }
}

class Pair {
  constructor(delimiter, left, right) {
    this.length = left.length + delimiter.length + right.length
    this.breaks = left.breaks || right.breaks
    this.delimiter = delimiter
    this.left = left
    this.right = right
  }

  write({ indent = 0 } = {}) {
    const { left, delimiter, right } = this
    const behind = right.write({ indent, offset: left.length + delimiter.length })
    return indented(indent, 0, left.write() + delimiter + behind)
  }
}

// Stands for the items that are not shown.
class More {
  constructor(count) {
    this.text = `... ${count} more`
    this.length = this.text.length
    this.breaks = true
  }

  write({ indent = 0 } = {}) {
    return indented(indent, 0, this.text)
  }
}

// An object that has been met; the part of one that contains itself.
class Reference {
  constructor(job, depth) {
    this.job = job
    this.depth = depth
    this.open = 0
    this.circular = false
    this.number = 0
    this.length = '[circular *]'.length
    this.breaks = false
  }

  // Numbers are given in the order in which they are written.
  get id() {
    if (this.number === 0) this.number = this.job.nextId++
    return this.number
  }

  write({ indent = 0, offset = 0, pad = 0 } = {}) {
    const text = `[circular *${this.id}]`.padStart(pad, ' ')
    return indented(indent, offset, this.job.paint(text, 'special'))
  }
}

class Sequence {
  constructor(job, reference, { header, footer, delimiter, tabulate, parts }) {
    this.job = job
    this.reference = reference
    this.header = header
    this.footer = footer
    this.delimiter = delimiter
    this.tabulate = tabulate
    this.parts = parts
    this.breaks = parts.some((part) => part.breaks)
    this.length = header.length + footer.length + Math.max(0, parts.length - 1) * delimiter.length
    for (const part of parts) this.length += part.length
    if (reference.circular) this.length += '<ref *> '.length
  }

  write({ indent = 0, offset = 0 } = {}) {
    const { parts, job } = this
    const empty = parts.length === 0
    const wide = Math.max(offset, indent * 2) + this.length > job.breakLength
    const split = this.breaks || (!empty && wide)

    let header = this.header
    if (this.reference.circular) header = `<ref *${this.reference.id}> ${header}`
    if (empty) header = header.trimEnd()
    header = indented(indent, offset, header)

    if (split) {
      const footer = indented(indent, 0, this.footer.trimStart())
      return `${header.trimEnd()}\n${this.writeLines(indent)}\n${footer}`
    }

    let text = header
    let column = 0
    parts.forEach((part, i) => {
      if (i > 0) text += this.delimiter
      text += part.write({ offset: column })
      column += part.length
    })
    return text + (empty ? this.footer.trimStart() : this.footer)
  }

  // Each part on its own line, or several in columns where they are to be a table.
  writeLines(indent) {
    const { parts, delimiter } = this
    let columns = 1
    let pad = 0
    if (this.tabulate) {
      const widest = Math.max(0, ...parts.filter((part) => !part.breaks).map((part) => part.length))
      if (widest > 0) {
        const room = this.job.breakLength - indent * 2
        columns = Math.max(1, Math.floor(room / (widest + delimiter.length)))
        if (columns > 1) pad = widest
      }
    }

    let text = ''
    parts.forEach((part, i) => {
      const first = i % columns === 0 || part.breaks
      text += part.write({ indent: first ? indent + 1 : 0, pad })
      if (i === parts.length - 1) return
      const last = i % columns === columns - 1 || parts[i + 1].breaks
      text += last ? delimiter.trimEnd() + '\n' : delimiter
    })
    return text
  }
}

module.exports = { Leaf, Pair, More, Reference, Sequence }
