interface Named { name: string }
type Maybe<T> = T | undefined

abstract class Base<T extends Named> {
  private readonly all: T[] = []
  protected last?: T
  abstract kind(): string
  add(one: T): this {
    this.all.push(one)
    this.last = one
    return this
  }
  get count(): number { return this.all.length }
}

class People extends Base<Named> implements Iterable<string> {
  declare never: number
  kind(): string { return 'people' }
  override add(one: Named): this { return super.add(one) }
  *[Symbol.iterator](): Iterator<string> { yield (this.last as Named).name }
}

function first<T>(list: T[], fallback?: T): Maybe<T>
function first<T>(this: void, list: T[], fallback?: T): Maybe<T> {
  return list[0] ?? fallback!
}

const people = new People().add({ name: 'Ada' } satisfies Named)
const line = (): string =>
  new Error('here').stack!.split('\n')[1].match(/types.ts:(\d+)/)![1]
console.log(people.kind(), people.count, [...people], first<number>([]), first([1] as const), 'never' in people)
console.log(line())
