import fc from 'fast-check'
import t from 'tap'
import { type Card, place, type Wish } from '../../src/gpu/placement.ts'

const card = (id: string, room: number | undefined, over: Partial<Card> = {}): Card => ({
  id,
  vendor: 'nvidia',
  isTaken: false,
  ...(room === undefined ? {} : { room }),
  ...over,
})
const wish = (key: string, bytes: number, over: Partial<Wish> = {}): Wish => ({
  key,
  bytes,
  priority: 0,
  ...over,
})
const placed = (wishes: readonly Wish[], cards: readonly Card[]) =>
  Object.fromEntries(place(wishes, cards))

t.test('each model onto the card where it leaves the least over', async (t) => {
  const cards = [card('24', 24), card('12', 12)]
  t.strictSame(placed([wish('small', 8), wish('large', 20)], cards), {
    large: ['24'],
    small: ['12'],
  })
  t.strictSame(placed([wish('a', 8), wish('b', 4), wish('c', 10)], cards), {
    c: ['12'],
    a: ['24'],
    b: ['24'],
  })
})

t.test('the important one first', async (t) => {
  const cards = [card('24', 24)]
  const wishes = [wish('large', 20), wish('first', 8, { priority: 1 })]
  t.strictSame([...place(wishes, cards).keys()], ['first', 'large'])
})

t.test('what fits nowhere alone is spread over cards of one maker', async (t) => {
  const cards = [card('a', 10), card('b', 12), card('c', 11), card('amd', 16, { vendor: 'amd' })]
  t.strictSame(placed([wish('x', 22)], cards), { x: ['b', 'c'] })
  t.strictSame(placed([wish('x', 33)], cards), { x: ['b', 'c', 'a'] })
  t.strictSame(placed([wish('x', 40)], cards), { x: ['amd'] }, 'the most room of all')
})

t.test('a card that its owner needs is passed over while there is another', async (t) => {
  const one = card('one', 24, { isTaken: true })
  t.strictSame(placed([wish('x', 8)], [one, card('two', 8)]), { x: ['two'] })
  t.strictSame(placed([wish('x', 8)], [one]), { x: ['one'] }, 'it waits there')
})

t.test('cards that are named, by number or id', async (t) => {
  const cards = [card('GPU-a', 8), card('GPU-b', 8, { isTaken: true })]
  t.strictSame(placed([wish('x', 1, { cards: [1] })], cards), { x: ['GPU-b'] })
  t.strictSame(placed([wish('x', 1, { cards: ['GPU-b', 0] })], cards), { x: ['GPU-a', 'GPU-b'] })
  t.strictSame(placed([wish('x', 1, { cards: [7] })], cards), { x: [] })
})

t.test('a machine without cards, and cards that do not tell their memory', async (t) => {
  t.strictSame(placed([wish('x', 8)], []), { x: [] })
  t.strictSame(placed([wish('x', 8), wish('y', 8)], [card('a', undefined)]), { x: ['a'], y: ['a'] })
})

t.test(
  'every wish gets cards of one maker that are there, a lone fit is never over-booked',
  async () => {
    const cards = fc.uniqueArray(
      fc.record({
        id: fc.constantFrom('a', 'b', 'c', 'd'),
        vendor: fc.constantFrom('nvidia' as const, 'amd' as const),
        room: fc.integer({ min: 0, max: 30 }),
        isTaken: fc.boolean(),
      }),
      { selector: ({ id }) => id },
    )
    const wishes = fc.uniqueArray(
      fc.record({
        key: fc.string(),
        bytes: fc.integer({ min: 0, max: 40 }),
        priority: fc.integer({ min: 0, max: 2 }),
      }),
      { selector: ({ key }) => key },
    )
    fc.assert(
      fc.property(wishes, cards, (all, there) => {
        const found = place(all, there)
        for (const { key } of all) {
          const ids = found.get(key)
          if (ids === undefined || (ids.length === 0) !== (there.length === 0)) throw new Error(key)
          const makers = ids.map((id) => there.find((one) => one.id === id)?.vendor)
          if (new Set(makers).size > 1 || makers.includes(undefined)) throw new Error(ids.join())
        }
        const [first] = all
        if (all.length !== 1 || first === undefined) return
        const free = there.filter(({ isTaken }) => !isTaken)
        const fits = (free.length > 0 ? free : there).some(({ room }) => room >= first.bytes)
        const [id, ...more] = found.get(first.key) ?? []
        const room = there.find((one) => one.id === id)?.room ?? 0
        if (fits && (more.length > 0 || room < first.bytes)) throw new Error('it would fit')
      }),
      { numRuns: 2_000 },
    )
  },
)
