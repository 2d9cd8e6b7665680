// `new Pipe(0)` is what node calls process.stdin.
import process from 'node:process'

export default function Pipe (fd) {
  if (fd !== 0) throw new Error('only stdin')
  return process.stdin
}
