import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { CardFacts } from '../../src/gpu/facts.ts'
import { IDLE_DEFAULTS } from '../../src/gpu/facts.ts'
import { foreignUse } from '../../src/gpu/foreign.ts'
import { IdleWatch } from '../../src/gpu/idle.ts'
import { GpuProbe } from '../../src/gpu/probe.ts'
import type { RunResult } from '../../src/gpu/run.ts'
import type { GpuSample, GpuSamples } from '../../src/gpu/sample.ts'
import { paceOn } from '../../src/gpu/sources.ts'
import { type ReasonName, reasonsAgainst, type Verdict } from '../../src/gpu/verdict.ts'
import { Places } from '../../src/node/places.ts'
import { Steward } from '../../src/node/steward.ts'
import { ManualClock } from '../support/clock.ts'
import { recorded } from '../support/gpu/recorded.ts'

const verdict = (
  machine: readonly ReasonName[],
  gpus: Record<string, ReasonName> = {},
): Verdict => ({
  machine: machine.map((name) => ({ name, text: name })),
  gpus: new Map(Object.entries(gpus).map(([id, name]) => [id, [{ name, text: name }]])),
  since: ms(0),
})

t.test('a verdict that comes right after another one is not lost', async (t) => {
  const clock = new ManualClock()
  const calls: string[] = []
  const inference = {
    pause: async () => void calls.push('pause'),
    unload: async () => void calls.push('unload'),
    resume: () => void calls.push('resume'),
  }
  const tenants = [{ services: ['a'], cards: () => [] }]
  const steward = new Steward({ clock, log: silentLog(), inference, tenants }, { grace: ms(5_000) })
  steward.take(verdict([]))
  steward.take(verdict(['paused']))
  await steward.settled()
  t.match(steward.reports(), [{ state: 'has yielded' }])
})

t.test('an engine that does not notice an abort is ended all the same', async (t) => {
  const clock = new ManualClock()
  const calls: string[] = []
  const inference = {
    pause: () => new Promise<void>(() => {}),
    unload: async () => void calls.push('unload'),
    resume: () => {},
  }
  const tenants = [{ services: ['a'], cards: () => [] }]
  const steward = new Steward({ clock, log: silentLog(), inference, tenants }, { grace: ms(5_000) })
  steward.take(verdict(['input']))
  for (let i = 0; i < 30; i++) await clock.advance(500)
  t.strictSame(calls, ['unload'], '10 s after the grace')
})

function watching(gpus: () => Promise<GpuSamples>) {
  const clock = new ManualClock()
  const watch = new IdleWatch(
    {
      clock,
      log: silentLog(),
      sources: {
        presence: async () => ({ session: 'none', isLocked: false, source: 'test', problems: [] }),
        inhibitors: async () => [],
        battery: async () => 'mains',
        programs: async () => [],
        gpus,
      },
      own: () => new Set<number>(),
      foreign: (sample, own) => foreignUse(sample, own),
      pauses: { current: async () => ({}) },
    },
    { settings: IDLE_DEFAULTS, pace: paceOn('linux') },
  )
  return { clock, watch }
}

const LATE: GpuSamples = {
  gpus: [],
  problems: ['nvidia-smi does not answer: the NVIDIA driver hangs or is very busy.'],
}

/** A card that is looked at until the test ends, and a driver that falls silent when it is told to. */
async function watched(t: Test, use: Pick<GpuSample, 'load' | 'memoryUsed'>) {
  const card: GpuSample = {
    ...{ id: 'GPU-1', vendor: 'nvidia', index: 0, name: 'RTX', isShared: false, isAsleep: false },
    ...{ processes: [], memoryTotal: 100 },
    ...use,
  }
  let answer: GpuSamples = { gpus: [card], problems: [] }
  const { clock, watch } = watching(async () => answer)
  const ended = new AbortController()
  t.teardown(() => ended.abort('over'))
  watch.run(ended.signal).catch(() => {})
  const pass = async (halves: number) => {
    for (let i = 0; i < halves; i++) await clock.advance(500)
  }
  await pass(20)
  return {
    pass,
    fallSilent: () => {
      answer = LATE
    },
    against: (ids: readonly string[]) => reasonsAgainst(watch.current(), ids),
  }
}

t.test('a card that others use is not free because nvidia-smi is late', async (t) => {
  const { pass, fallSilent, against } = await watched(t, { load: 0.9, memoryUsed: 60 })
  t.ok(against(['GPU-1']).length > 0, 'a game')
  fallSilent()
  await pass(14)
  t.ok(against(['GPU-1']).length > 0, 'still, as far as anybody knows')
})

t.test('and not after half a minute without an answer, either', async (t) => {
  const { pass, fallSilent, against } = await watched(t, { load: 0, memoryUsed: 1 })
  t.strictSame(against(['GPU-1']), [])
  fallSilent()
  await pass(40)
  t.strictSame(against(['GPU-1']), [], 'a hiccup ends nothing')
  await pass(40)
  t.match(against(['GPU-1']), [{ name: 'unknown' }])
  t.strictSame(against([]), [], 'the processor serves')
})

t.test('a pause holds while its file cannot be read for a moment', async (t) => {
  const clock = new ManualClock()
  let pause: object = { pause: { since: clock.now() } }
  const watch = new IdleWatch(
    {
      clock,
      log: silentLog(),
      sources: {
        presence: async () => ({ session: 'none', isLocked: false, source: 'test', problems: [] }),
        inhibitors: async () => [],
        battery: async () => 'mains',
        programs: async () => [],
        gpus: async () => ({ gpus: [], problems: [] }),
      },
      own: () => new Set<number>(),
      foreign: (sample, own) => foreignUse(sample, own),
      pauses: { current: async () => pause },
    },
    { settings: IDLE_DEFAULTS, pace: paceOn('linux') },
  )
  t.match((await watch.look(new AbortController().signal)).machine, [{ name: 'paused' }])
  pause = { problem: 'EMFILE' }
  t.match((await watch.poke()).machine, [{ name: 'paused' }])
  pause = {}
  t.strictSame((await watch.poke()).machine, [])
})

t.test('the probe gives an empty list when nvidia-smi is late', async (t) => {
  const clock = new ManualClock()
  const probe = new GpuProbe({
    run: async (): Promise<RunResult> => ({ is: 'late' }),
    clock,
    platform: 'win32',
  })
  t.comment(JSON.stringify(await probe.sample(new AbortController().signal)))
})

t.test('cards that are seen later are places, too', async (t) => {
  let cards: readonly CardFacts[] | undefined
  const places = new Places(
    { cards: () => cards, kinds: ['cuda', 'cpu'], visible: undefined, memory: 8e9 },
    [
      {
        key: 'x',
        backend: { gpu: 'auto', gpus: 'auto', vramMax: undefined },
        priority: 0,
        bytes: 1e9,
      },
    ],
    undefined,
  )
  places.settle(undefined)
  cards = [
    {
      sample: {
        id: 'GPU-1',
        vendor: 'nvidia',
        index: 0,
        name: 'RTX',
        isShared: false,
        isAsleep: false,
        memoryTotal: 20e9,
      },
      foreign: { programs: [] },
      at: ms(0),
    },
  ]
  t.strictSame(places.cardsOf('x'), ['GPU-1'])
})
void recorded
