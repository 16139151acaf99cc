import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { Watts } from '../../src/cli/try-watts.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'

const CARD: GpuSample = {
  id: 'GPU-1',
  vendor: 'nvidia',
  index: 0,
  name: 'a card',
  isShared: false,
  isAsleep: false,
}
const { signal } = new AbortController()
const some = () => systemClock.sleep(ms(60))

function wattsOf(gpus: () => readonly GpuSample[]) {
  let looks = 0
  const cards = async () => {
    looks++
    return { gpus: gpus(), problems: [] }
  }
  return {
    watts: new Watts({ clock: systemClock, cards, every: ms(10) }),
    looks: () => looks,
  }
}

t.test('joules of all cards, over the time that the work took', async (t) => {
  const { watts, looks } = wattsOf(() => [
    { ...CARD, power: 100 },
    { ...CARD, id: 'GPU-2', power: 50 },
  ])
  const { value, drawn } = await watts.during(async () => {
    await some()
    return 7
  }, signal)
  t.equal(value, 7)
  t.ok(looks() > 3, 'it looked while the work went on')
  t.ok((drawn?.seconds ?? 0) >= 0.05)
  t.equal(Math.round((drawn?.joules ?? 0) / (drawn?.seconds ?? 1)), 150)
})

t.test('without a card that tells its power nobody looks again', async (t) => {
  const { watts, looks } = wattsOf(() => [CARD])
  t.strictSame(await watts.during(async () => 1, signal), { value: 1 })
  t.strictSame(await watts.during(async () => some().then(() => 2), signal), { value: 2 })
  t.ok(looks() <= 2)
})

t.test('work that fails, fails, and the looking ends', async (t) => {
  const { watts, looks } = wattsOf(() => [{ ...CARD, power: 100 }])
  const failing = async () => {
    await some()
    throw new Error('no')
  }
  await t.rejects(watts.during(failing, signal), { message: 'no' })
  const before = looks()
  await some()
  t.equal(looks(), before)
})
