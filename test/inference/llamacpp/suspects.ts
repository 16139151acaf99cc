import t from 'tap'
import { SUSPECTS_DEFAULTS, Suspects } from '../../../src/inference/llamacpp/suspects.ts'
import { ManualClock } from '../../support/clock.ts'
import { chat, GREEDY_SETTINGS } from '../../support/tiny-model.ts'

const seeded = (content: string, seed: bigint, id = 0) =>
  chat(content, { id, settings: { ...GREEDY_SETTINGS, seed, logitBias: new Map([[1, 2]]) } })
const refused = { code: 'BAD_REQUEST', data: { reason: 'unprocessable' }, retryable: false }

function setUp() {
  const clock = new ManualClock()
  const suspects = new Suspects({ clock }, { ...SUSPECTS_DEFAULTS, suspectsMax: 3 })
  return { clock, suspects }
}

t.test('the third time is refused, whatever its number and its seed', async (t) => {
  const { suspects } = setUp()
  suspects.check(seeded('x', 1n))
  suspects.died([seeded('x', 1n, 1), seeded('y', 1n, 2)])
  suspects.check(seeded('x', 1n))
  suspects.died([seeded('x', 2n, 3)])
  t.throws(() => suspects.check(seeded('x', 3n, 4)), refused)
  suspects.check(seeded('y', 1n))
  suspects.check(seeded('z', 1n))
  suspects.check(chat('x', { settings: { ...GREEDY_SETTINGS, seed: 1n, logitBias: new Map() } }))
})

t.test('an answer clears a neighbour', async (t) => {
  const { suspects } = setUp()
  suspects.answered(seeded('y', 1n))
  suspects.died([seeded('y', 1n)])
  suspects.answered(seeded('y', 7n))
  suspects.died([seeded('y', 1n)])
  t.doesNotThrow(() => suspects.check(seeded('y', 1n)))
})

t.test('time clears, and memory is bounded', async (t) => {
  const { clock, suspects } = setUp()
  suspects.died([seeded('x', 1n)])
  suspects.died([seeded('x', 1n)])
  await clock.advance(SUSPECTS_DEFAULTS.forgetAfter)
  t.throws(() => suspects.check(seeded('x', 1n)), refused)
  await clock.advance(1)
  suspects.check(seeded('x', 1n))
  suspects.died([seeded('a', 1n)])
  suspects.died(['a', 'b', 'c', 'd'].map((content) => seeded(content, 1n)))
  suspects.died([seeded('a', 1n)])
  suspects.check(seeded('a', 1n))
})
