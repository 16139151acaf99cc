import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { RESTED, type Rest, restOf, step } from '../../src/gpu/rest.ts'
import type { Reason, ReasonName } from '../../src/gpu/verdict.ts'

const MINUTE = 60_000
const resumeAfter = ms(MINUTE)

/** One thing that yields, told what speaks against it at which minute. */
class Life {
  rest: Rest = RESTED
  shown: readonly Reason[] = []
  left: number | undefined

  at(minute: number, ...names: ReasonName[]): string {
    const reasons = names.map((name) => ({ name, text: `it is ${name}` }))
    const wasUsable = this.rest.freeSince !== undefined
    const told = step(this.rest, reasons, ms(minute * MINUTE), { resumeAfter, wasUsable })
    this.rest = told.rest
    this.shown = told.reasons
    this.left = told.left
    return told.reasons.map(({ name, isOver }) => (isOver ? `(${name})` : name)).join(' ')
  }

  /** Yields at `minute` and is quiet from the next look on. @returns minutes of rest */
  yieldAt(minute: number): number {
    this.at(minute, 'program')
    this.at(minute)
    return restOf(this.rest, resumeAfter) / MINUTE
  }
}

t.test('yields at once and comes back after a rest', async (t) => {
  const life = new Life()
  t.equal(life.at(0), '', 'at the first look there is nothing to wait for')
  t.equal(life.at(1, 'program'), 'program')
  t.equal(life.at(5, 'input', 'busy'), 'input busy')
  t.equal(life.at(6), '(input) (busy)')
  t.equal(life.left, MINUTE)
  t.match(life.shown, [
    { text: 'you used it until a moment ago; it is used again after 60 s of quiet' },
    {},
  ])
  t.equal(life.at(6.5), '(input) (busy)')
  t.equal(life.left, MINUTE / 2)
  t.equal(life.at(6.75, 'input'), 'input', 'the rest begins anew')
  t.equal(life.at(7), '(input)')
  t.equal(life.at(7.99), '(input)')
  t.equal(life.at(8), '')
  t.equal(life.left, undefined)
})

t.test('a pause and the hours end without a rest, but they do not end one', async (t) => {
  const life = new Life()
  life.at(0)
  t.equal(life.at(1, 'paused', 'schedule'), 'paused schedule')
  t.equal(life.at(2), '')
  t.equal(life.at(3, 'paused', 'input'), 'paused input')
  t.equal(life.at(4, 'paused'), 'paused (input)')
  t.equal(life.at(4.5), '(input)')
  t.equal(life.at(6, 'paused'), 'paused')
  t.equal(life.at(7), '', 'it was quiet for long enough while it was paused')
  t.strictSame(life.rest.yields.length, 1, 'a pause is no flap')
})

t.test('after three yields in ten minutes the rest doubles, up to 15 minutes', async (t) => {
  const life = new Life()
  const rests: number[] = []
  for (let minute = 0; rests.length < 8; ) {
    life.at(minute)
    rests.push(life.yieldAt(minute + 1))
    minute += 1 + (rests.at(-1) ?? 0)
  }
  t.strictSame(rests, [1, 1, 2, 4, 8, 15, 15, 15])
})

t.test('rare yields never double it, and a long service makes good', async (t) => {
  const life = new Life()
  for (let minute = 0; minute < 100; minute += 6) {
    life.at(minute)
    t.equal(life.yieldAt(minute + 4), 1, `at ${minute}`)
    life.at(minute + 5.5)
  }
  const flapping = new Life()
  for (const minute of [0, 2, 4]) {
    flapping.at(minute)
    flapping.yieldAt(minute + 0.5)
  }
  t.equal(restOf(flapping.rest, resumeAfter), 2 * MINUTE)
  flapping.at(7)
  t.equal(flapping.yieldAt(17), 1)
})

t.test('what holds it while it is not used anyway is no yield', async (t) => {
  const life = new Life()
  life.at(0, 'paused')
  for (let minute = 1; minute < 9; minute += 2) {
    life.at(minute, 'paused', 'input')
    life.at(minute + 1.5, 'paused')
  }
  t.equal(restOf(life.rest, resumeAfter), MINUTE)
})

t.test('a card that is busy while the whole machine rests does not flap', async (t) => {
  const busy = [{ name: 'gpu-load', text: 'it is used' } as const]
  const lived = (wasUsable: boolean) => {
    let rest = RESTED
    for (let minute = 0; minute < 8; minute += 2)
      for (const [reasons, at] of [
        [[], minute] as const,
        [busy, minute + 0.5] as const,
        [[], minute + 0.6] as const,
      ])
        rest = step(rest, reasons, ms(at * MINUTE), { resumeAfter, wasUsable }).rest
    return restOf(rest, resumeAfter) / MINUTE
  }
  t.ok(lived(true) > 1)
  t.equal(lived(false), 1)
})

t.test('an owner may ask for a longer rest than ours', async (t) => {
  t.equal(restOf({ ...RESTED, level: 3 }, ms(1_800_000)), 1_800_000)
})
