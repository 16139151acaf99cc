import fc from 'fast-check'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { makeRoom, type Need, type Seated } from '../../src/inference/residency.ts'

const GIB = 1024 ** 3
const options = { now: ms(1_000_000), stayMin: ms(60_000), budgetOf: () => 24 * GIB }

const need = (gib: number, priority = 0, place = 'a'): Need => ({
  shares: [{ place, bytes: gib * GIB }],
  priority,
})

const seat = (name: string, over: Partial<Seated> & { need: Need }) => ({
  name,
  isBusy: false,
  loadedAt: ms(0),
  usedAt: ms(0),
  ...over,
})

const names = (seats: readonly { name: string }[] | undefined) => seats?.map(({ name }) => name)

t.test('nobody goes while there is room', async (t) => {
  t.strictSame(makeRoom(need(10), [seat('x', { need: need(14) })], options), [])
  t.strictSame(makeRoom(need(24), [], options), [])
  const elsewhere = seat('x', { need: need(24, 0, 'b') })
  t.strictSame(makeRoom(need(24), [elsewhere], options), [], 'another memory does not count')
  t.strictSame(makeRoom({ shares: [], priority: 0 }, [seat('x', { need: need(24) })], options), [])
})

t.test('who was used longest ago goes first, and no more than needed', async (t) => {
  const seats = [
    seat('late', { need: need(8), usedAt: ms(3) }),
    seat('early', { need: need(8), usedAt: ms(1) }),
    seat('middle', { need: need(8), usedAt: ms(2) }),
  ]
  t.strictSame(names(makeRoom(need(6), seats, options)), ['early'])
  t.strictSame(names(makeRoom(need(12), seats, options)), ['early', 'middle'])
})

t.test('who answers, has just come or is more important stays', async (t) => {
  const fresh = seat('x', { need: need(20), loadedAt: ms(950_000) })
  t.equal(makeRoom(need(10), [fresh], options), undefined)
  t.strictSame(names(makeRoom(need(10, 1), [fresh], options)), ['x'], 'a higher one does not wait')
  t.equal(makeRoom(need(10, 1), [seat('x', { need: need(20), isBusy: true })], options), undefined)
  t.equal(makeRoom(need(10), [seat('x', { need: need(20, 1) })], options), undefined)
  const seats = [
    seat('high', { need: need(12, 1), usedAt: ms(1) }),
    seat('low', { need: need(12), usedAt: ms(2) }),
  ]
  t.strictSame(names(makeRoom(need(10, 1), seats, options)), ['low'], 'the least important first')
})

t.test('what is too large for the memory gets it for itself', async (t) => {
  t.strictSame(makeRoom(need(100), [], options), [])
  t.strictSame(names(makeRoom(need(100), [seat('x', { need: need(1) })], options)), ['x'])
})

t.test('a model over two cards needs room on both', async (t) => {
  const wide: Need = { shares: [...need(20).shares, ...need(20, 0, 'b').shares], priority: 0 }
  const seats = [seat('x', { need: need(8) }), seat('y', { need: need(8, 0, 'b') })]
  t.strictSame(names(makeRoom(wide, seats, options)), ['x', 'y'])
  const held = [seats[0], seat('y', { need: need(8, 0, 'b'), isBusy: true })]
  t.equal(
    makeRoom(
      wide,
      held.flatMap((one) => one ?? []),
      options,
    ),
    undefined,
  )
})

t.test('whatever goes may go, and what stays fits', async () => {
  const size = fc.integer({ min: 0, max: 30 })
  const anySeat = fc.record({
    need: fc.record({
      shares: fc.uniqueArray(
        fc.record({ place: fc.constantFrom('a', 'b'), bytes: size.map((n) => n * GIB) }),
        { selector: ({ place }) => place },
      ),
      priority: fc.integer({ min: 0, max: 2 }),
    }),
    isBusy: fc.boolean(),
    loadedAt: fc.integer({ min: 900_000, max: 1_000_000 }).map(ms),
    usedAt: fc.integer({ min: 0, max: 1_000_000 }).map(ms),
  })
  const bytesIn = (seats: readonly { need: Need }[], place: string) =>
    seats
      .flatMap((one) => one.need.shares)
      .filter((share) => share.place === place)
      .reduce((sum, { bytes }) => sum + bytes, 0)
  fc.assert(
    fc.property(anySeat, fc.array(anySeat, { maxLength: 6 }), (want, seats) => {
      const leaving = makeRoom(want.need, seats, options)
      if (leaving === undefined) return
      for (const one of leaving) if (one.isBusy || one.need.priority > want.need.priority) throw one
      const staying = seats.filter((one) => !leaving.includes(one))
      for (const { place, bytes } of want.need.shares) {
        const others = bytesIn(staying, place)
        if (others > 0 && others + bytes > options.budgetOf()) throw new Error('no room')
      }
    }),
    { numRuns: 2_000 },
  )
})
