import fc from 'fast-check'
import t from 'tap'
import { History, Table } from '../../src/devnet/store.ts'

const empty = () => new Table<number>(new History<number>().at(0))

t.test('what is written over a table is seen below only when it is applied', async (t) => {
  const below = empty()
  below.set('a', 1)
  below.set('b', 2)
  const over = new Table<number>(below)
  over.set('a', 10)
  over.delete('b')
  over.set('c', 3)
  t.same(over.entries(), [
    ['a', 10],
    ['c', 3],
  ])
  t.same(below.entries(), [
    ['a', 1],
    ['b', 2],
  ])
  below.apply(over.changes())
  t.same(below.entries(), over.entries())
  t.equal(below.get('b'), undefined)
})

t.test('entries come in the order of their keys', async (t) => {
  const table = empty()
  for (const key of ['b', 'a/2', 'a', 'B', 'a/10']) table.set(key, 1)
  t.same(
    [...table.entries()].map(([key]) => key),
    ['B', 'a', 'a/10', 'a/2', 'b'],
  )
  t.same(table.values(), [1, 1, 1, 1, 1])
})

type Write = readonly [key: string, value: number | undefined]

const write = fc.tuple(
  fc.constantFrom('a', 'b', 'c'),
  fc.option(fc.integer(), { nil: undefined }),
) satisfies fc.Arbitrary<Write>
const blocks = fc.array(fc.array(write, { maxLength: 4 }), { minLength: 1, maxLength: 20 })

/** What plain maps would hold after each block. */
function plainly(all: readonly (readonly Write[])[]): Map<string, number>[] {
  const states = [new Map<string, number>()]
  for (const writes of all) {
    const next = new Map(states.at(-1))
    for (const [key, value] of writes) {
      if (value === undefined) next.delete(key)
      else next.set(key, value)
    }
    states.push(next)
  }
  return states
}

const sorted = (state: Map<string, number> | undefined) => [...(state ?? [])].sort()

t.test('every height that is kept reads as it was', async () => {
  fc.assert(
    fc.property(blocks, fc.integer({ min: 0, max: 20 }), (all, pruned) => {
      const history = new History<number>()
      const keep = Math.min(pruned, all.length)
      for (const [i, writes] of all.entries()) {
        const table = new Table<number>(history.at(i))
        for (const [key, value] of writes) {
          if (value === undefined) table.delete(key)
          else table.set(key, value)
        }
        history.write(i + 1, table.changes())
      }
      history.prune(keep)
      return plainly(all).every((state, at) => {
        if (at < keep) return true
        const read = new Table<number>(history.at(at)).entries()
        return JSON.stringify(read) === JSON.stringify(sorted(state))
      })
    }),
  )
})

t.test('what was deleted long ago takes no room', async (t) => {
  const history = new History<number>()
  history.write(1, new Map([['a', 1]]))
  history.write(2, new Map([['a', undefined]]))
  t.same([...history.at(9).keys()], ['a'])
  history.prune(1)
  t.equal(history.at(1).get('a'), 1)
  history.prune(2)
  t.same([...history.at(9).keys()], [])
})
