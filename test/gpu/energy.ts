import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { EnergyMeter } from '../../src/gpu/energy.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'

const card = (power: number | undefined, more: Partial<GpuSample> = {}): GpuSample => ({
  ...{ id: 'a', vendor: 'nvidia', index: 0, name: 'card', isShared: false, isAsleep: false },
  ...(power === undefined ? {} : { power }),
  ...more,
})

function metered(looks: readonly (readonly [second: number, watts: number | undefined])[]) {
  const meter = new EnergyMeter()
  for (const [second, watts] of looks) meter.add(ms(second * 1_000), [card(watts)])
  return meter.of('a')
}

t.test('watts become joules', async (t) => {
  t.equal(metered([]), undefined)
  t.strictSame(metered([[0, 100]]), { joules: 0, seconds: 0 })
  t.strictSame(
    metered([
      [0, 100],
      [5, 300],
    ]),
    { joules: 1_000, seconds: 5 },
    'half way between the two',
  )
})

t.test('a gap is not counted', async (t) => {
  const looks = [
    [0, 100],
    [5, 100],
    [36, 100],
    [66, 100],
  ] as const
  t.match(metered(looks), { joules: 500 + 3_000, seconds: 35 }, '31 s are not, 30 s are')
  t.match(
    metered([
      [0, 100],
      [5, undefined],
      [10, 100],
    ]),
    { joules: 1_000 },
    'one look that told nothing is bridged',
  )
  t.match(
    metered([
      [10, 100],
      [5, 100],
      [15, 100],
    ]),
    { joules: 500 },
    'nor a clock that went back',
  )
})

t.test('what is above idle is the price of work', async (t) => {
  const idle = [20, 21, 20, 19].map((watts, at) => [at * 5, watts] as const)
  t.match(metered(idle), { idleWatts: 20, joules: 302.5, joulesAbove: 2.5 })
  const work = [...idle, [20, 320], [25, 320], [30, 20]] as const
  const used = metered(work)
  t.equal(used?.idleWatts, 20, 'work is no baseline')
  t.equal(used?.joulesAbove, 3_000)
  const long = [0, 1, 2, 3, 4, 5].map((at) => [20 + at * 5, 320] as const)
  t.equal(metered([...idle, ...long])?.idleWatts, 20, 'nor is steady work')
  const waves = [20, 60, 20, 60, 20, 60].map((watts, at) => [at * 5, watts] as const)
  t.notOk('idleWatts' in (metered(waves) ?? {}), 'never steady')
  const lower = [...idle, ...[10, 10, 10, 10].map((watts, at) => [20 + at * 5, watts] as const)]
  t.match(metered(lower), { idleWatts: 10 })
})

t.test('each card has its own; one that sleeps draws nothing and sets no baseline', async (t) => {
  const meter = new EnergyMeter()
  for (let at = 0; at < 6; at++)
    meter.add(ms(at * 5_000), [
      card(undefined, { isAsleep: true }),
      card(50, { id: 'b' }),
      card(Number.NaN, { id: 'c' }),
      card(undefined, { id: 'd' }),
    ])
  t.strictSame(meter.of('a'), { joules: 0, seconds: 25 })
  t.match(meter.of('b'), { joules: 1_250, idleWatts: 50, joulesAbove: 0 })
  t.equal(meter.of('c'), undefined)
  t.equal(meter.of('d'), undefined, 'not known is not 0')
})
