import fc from 'fast-check'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import {
  type CardFacts,
  type Facts,
  factsNeeded,
  IDLE_DEFAULTS,
  type IdleSettings,
} from '../../src/gpu/facts.ts'
import { decide, type PolicyState } from '../../src/gpu/policy.ts'
import { spoken } from '../../src/gpu/reasons.ts'
import type { ForeignUse, GpuSample } from '../../src/gpu/sample.ts'
import { parseSchedule } from '../../src/gpu/schedule.ts'
import { reasonsAgainst, type Verdict } from '../../src/gpu/verdict.ts'

const GIB = 1024 ** 3
/** A Sunday, 12:00 UTC. */
const NOON = Date.parse('2026-11-29T12:00Z')

function card(
  changes: { id?: string; sample?: Partial<GpuSample>; foreign?: Partial<ForeignUse> } = {},
  at = 0,
): CardFacts {
  const sample: GpuSample = {
    id: changes.id ?? 'GPU-1',
    vendor: 'nvidia',
    index: 0,
    name: 'RTX',
    isShared: false,
    isAsleep: false,
    memoryTotal: 24 * GIB,
    temperature: 50,
    ...changes.sample,
  }
  return { sample, foreign: { programs: [], ...changes.foreign }, at: ms(at) }
}

const AWAY: Facts = {
  presence: {
    session: 'local',
    idleFor: ms(600_000),
    isLocked: false,
    source: 'GNOME',
    problems: [],
  },
  inhibitors: [],
  battery: 'mains',
  programs: [],
  gpus: [card()],
}

/** Decides again and again; time is in seconds. */
class Owner {
  state: PolicyState | undefined
  readonly settings: IdleSettings

  constructor(settings: Partial<IdleSettings> = {}) {
    this.settings = { ...IDLE_DEFAULTS, programs: ['steam'], ...settings }
  }

  at(seconds: number, facts: Partial<Facts> = {}): Verdict {
    const { verdict, state } = decide({
      now: ms(NOON + seconds * 1_000),
      monotonic: ms(seconds * 1_000),
      facts: { ...AWAY, ...facts },
      settings: this.settings,
      ...(this.state === undefined ? {} : { state: this.state }),
    })
    this.state = state
    return verdict
  }
}

const all = (verdict: Verdict) => reasonsAgainst(verdict, ['GPU-1', 'GPU-2'])
const names = (verdict: Verdict) =>
  all(verdict)
    .map(({ name }) => name)
    .join(' ')
const presence = (changes: object) => ({
  presence: {
    session: 'local',
    isLocked: false,
    source: 'GNOME',
    problems: [],
    ...changes,
  } as const,
})
const without = (...facts: (keyof Facts)[]) =>
  Object.fromEntries(facts.map((name) => [name, undefined])) as Partial<Facts>

const night = parseSchedule(['daily 18:00-08:00'], 'UTC')

t.test('each reason, on and off', async (t) => {
  const table: [string, Partial<IdleSettings>, Partial<Facts>, string][] = [
    ['nobody is there', {}, {}, ''],
    ['a pause', {}, { pause: { since: ms(0) } }, 'paused by hand until you resume it'],
    [
      'a pause with an end',
      { serve: 'always' },
      { pause: { since: ms(0), until: ms(NOON + 1_500_000), note: 'a film' } },
      'paused by hand for another 25 min (a film)',
    ],
    ['a pause that is over', {}, { pause: { since: ms(0), until: ms(NOON) } }, ''],
    [
      'outside of its hours',
      { hours: night },
      {},
      'outside of its hours (daily 18:00-08:00); they begin in 6 h',
    ],
    ['within its hours', { hours: parseSchedule(['sun'], 'UTC') }, {}, ''],
    ['hours do not count where it is served always', { serve: 'always', hours: night }, {}, ''],
    ['on battery', { serve: 'always' }, { battery: 'battery' }, 'the machine runs on its battery'],
    ['on battery, which is allowed', { onBattery: true }, { battery: 'battery' }, ''],
    [
      'input',
      {},
      presence({ idleFor: 12_000 }),
      'you typed 12 s ago; it takes 3 min without input',
    ],
    [
      'input now',
      {},
      presence({ idleFor: 0 }),
      'you are using it now; it takes 3 min without input',
    ],
    ['no input for long enough', {}, presence({ idleFor: 180_000 }), ''],
    ['a locked screen', {}, presence({ idleFor: 0, isLocked: true }), ''],
    ['a server', {}, presence({ session: 'none', idleFor: 0 }), ''],
    ['input that nobody tells', {}, presence({}), ''],
    [
      'input that nobody tells, to be careful',
      { unknownInput: 'yield' },
      presence({ session: 'unknown' }),
      'it cannot be told when you last typed',
    ],
    ['input counts only when idle', { serve: 'schedule' }, presence({ idleFor: 0 }), ''],
    [
      'a film',
      {},
      { inhibitors: [{ who: 'Firefox', why: 'video-playing' }] },
      'Firefox keeps the screen awake (video-playing)',
    ],
    [
      'a film before a locked screen',
      {},
      { ...presence({ isLocked: true }), inhibitors: [{ who: 'F', why: '' }] },
      '',
    ],
    ['a film that may be', { inhibitors: false }, { inhibitors: [{ who: 'F', why: '' }] }, ''],
    [
      'one that is always on',
      { inhibitorsIgnored: ['Caffeine'] },
      { inhibitors: [{ who: 'caffeine', why: '' }] },
      '',
    ],
    ['a program', {}, { programs: ['steam.exe'] }, 'steam.exe is running'],
    ['programs', {}, { programs: ['a', 'b', 'c', 'd', 'e'] }, 'a, b, c and 2 more are running'],
    ['a program, always', { serve: 'always' }, { programs: ['steam.exe'] }, ''],
    [
      'load of others',
      {},
      { gpus: [card({ foreign: { load: 0.78, programs: ['blender'] } })] },
      '78 % of the card is used by others (blender)',
    ],
    ['a little load', {}, { gpus: [card({ foreign: { load: 0.2 } })] }, ''],
    ['load, always', { serve: 'always' }, { gpus: [card({ foreign: { load: 1 } })] }, ''],
    [
      'memory of others',
      { serve: 'schedule' },
      { gpus: [card({ foreign: { memory: 13 * GIB } })] },
      "13.0 GiB of the card's memory is used by others; up to 12.0 GiB is left to them",
    ],
    ['less memory', {}, { gpus: [card({ foreign: { memory: 12 * GIB } })] }, ''],
    [
      'memory in bytes',
      { gpuMemoryMax: { bytes: GIB } },
      { gpus: [card({ foreign: { memory: 2 * GIB } })] },
      "2.0 GiB of the card's memory is used by others; up to 1.0 GiB is left to them",
    ],
    [
      'heat',
      { serve: 'always' },
      { gpus: [card({ sample: { temperature: 87 } })] },
      'the card has 87 °C; it cools down to 79 °C',
    ],
    ['warmth', {}, { gpus: [card({ sample: { temperature: 86 } })] }, ''],
    ['no cards', {}, { gpus: [] }, ''],
    ['cards not known', {}, without('gpus'), 'it cannot be told what the graphics cards do'],
    ['not known, always', { serve: 'always' }, without('gpus', 'presence', 'programs'), ''],
    [
      'who is there, not known',
      {},
      without('presence'),
      'it cannot be told whether somebody uses the machine',
    ],
    [
      'films not known',
      {},
      without('inhibitors'),
      'it cannot be told whether a program keeps the screen awake',
    ],
    ['programs not known', {}, without('programs'), 'it cannot be told which programs are running'],
    ['none asked for', { programs: [] }, without('programs'), ''],
    [
      'battery not known',
      {},
      without('battery'),
      'it cannot be told whether the machine runs on its battery',
    ],
  ]
  for (const [what, settings, facts, text] of table) {
    const verdict = new Owner(settings).at(0, facts)
    t.equal(
      all(verdict)
        .map((reason) => reason.text)
        .join('; '),
      text,
      what,
    )
  }
})

t.test('what concerns one card speaks against that card only', async (t) => {
  const verdict = new Owner().at(0, {
    gpus: [card(), card({ id: 'GPU-2', foreign: { load: 0.9 } })],
  })
  t.strictSame(verdict.machine, [])
  t.strictSame([...verdict.gpus.keys()], ['GPU-2'])
  t.strictSame(reasonsAgainst(verdict, ['GPU-1']), [])
  t.equal(reasonsAgainst(verdict, ['GPU-2'])[0]?.name, 'gpu-load')
})

t.test('one look above the load is a window that moves; two are work', async (t) => {
  const owner = new Owner()
  const load = (at: number, value: number) => ({ gpus: [card({ foreign: { load: value } }, at)] })
  t.equal(names(owner.at(0, load(0, 0))), '')
  t.equal(names(owner.at(5, load(5, 0.9))), '')
  t.equal(names(owner.at(6, load(5, 0.9))), '', 'the same look, decided again')
  t.equal(names(owner.at(10, load(10, 0))), '')
  t.equal(names(owner.at(15, load(15, 0.9))), '')
  t.equal(names(owner.at(20, load(20, 0.5))), 'gpu-load')
})

t.test('a hot card rests until it is cool', async (t) => {
  const owner = new Owner({ serve: 'always' })
  const warm = (at: number, temperature?: number) => ({
    gpus: [card({ sample: temperature === undefined ? {} : { temperature } }, at)],
  })
  t.equal(names(owner.at(0, warm(0, 86.9))), '')
  t.equal(names(owner.at(5, warm(5, 87))), 'heat')
  t.equal(names(owner.at(10, warm(10, 80))), 'heat')
  t.equal(names(owner.at(15, { ...without('gpus') })), 'unknown', 'nobody knows that it has cooled')
  t.equal(all(owner.at(20, warm(20, 79)))[0]?.isOver, true)
  t.equal(names(owner.at(79, warm(75, 70))), 'unknown')
  t.equal(names(owner.at(80, warm(80, 82))), '', 'until it is hot again')
})

t.test('tells when it will be looked at again', async (t) => {
  const owner = new Owner({ hours: parseSchedule(['sun 12:00-13:00'], 'UTC') })
  t.equal(owner.at(0).until, undefined)
  const since = owner.at(5, presence({ idleFor: 0 })).since
  t.equal(since, NOON + 5_000)
  const typing = owner.at(9, presence({ idleFor: 3_000 }))
  t.equal(typing.since, since, 'the same reasons: since they came')
  t.equal(typing.until, undefined, 'nobody knows when you stop')
  t.equal(owner.at(10).until, NOON + 70_000, 'the end of the rest')
  const pause = { since: ms(NOON), until: ms(NOON + 30_000) }
  t.equal(owner.at(20, { pause }).until, NOON + 70_000, 'the last of both')
  t.equal(owner.at(71).until, undefined)
  const closed = owner.at(3_600)
  t.equal(closed.until, Date.parse('2026-12-06T12:00Z'))
  const busy = new Owner()
  busy.at(0)
  busy.at(5, { gpus: [card({ foreign: { memory: 20 * GIB } }, 5)] })
  t.equal(busy.at(10, { gpus: [card({}, 10)] }).until, NOON + 70_000, 'the rest of a card')
})

t.test('a card that is gone is forgotten, one that cannot be seen is not', async (t) => {
  const owner = new Owner()
  owner.at(0)
  t.strictSame([...owner.at(5, without('gpus')).gpus.keys()], ['GPU-1'])
  t.equal(owner.at(6, { gpus: [] }).gpus.size, 0)
  t.equal(names(owner.at(7)), '', 'back, as if it was new')
})

t.test('only what counts is read', async (t) => {
  const needed = (settings: Partial<IdleSettings>) =>
    [...factsNeeded({ ...IDLE_DEFAULTS, ...settings })].sort().join(' ')
  t.equal(needed({}), 'battery gpus inhibitors presence')
  t.equal(needed({ programs: ['a'], inhibitors: false }), 'battery gpus presence programs')
  t.equal(needed({ serve: 'schedule', programs: ['a'] }), 'battery gpus programs')
  t.equal(needed({ serve: 'always', programs: ['a'], onBattery: true }), 'gpus')
})

t.test('durations as they are spoken', async (t) => {
  const table: [number, string][] = [
    [0, '1 s'],
    [12_001, '13 s'],
    [60_000, '60 s'],
    [180_000, '3 min'],
    [7_140_000, '119 min'],
    [7_500_000, '2 h 5 min'],
    [86_400_000, '24 h'],
    [604_800_000, '7 days'],
  ]
  for (const [value, text] of table) t.equal(spoken(value), text)
})

/** What a random moment of a machine looks like: who is there, and what its card does. */
const moment = fc.record({
  wait: fc.integer({ min: 1, max: 40 }),
  typed: fc.boolean(),
  program: fc.boolean(),
  memory: fc.boolean(),
  paused: fc.boolean(),
})
const quiet = fc.record({
  wait: fc.integer({ min: 1, max: 70 }),
  typed: fc.constant(false),
  program: fc.constant(false),
  memory: fc.constant(false),
  paused: fc.constant(false),
})
// Mostly quiet, so that rests end too.
const moments = fc.array(
  fc.oneof({ weight: 1, arbitrary: moment }, { weight: 6, arbitrary: quiet }),
  { minLength: 30, maxLength: 60 },
)

t.test('yields at once, and never comes back before the rest', async (t) => {
  let resumes = 0
  fc.assert(
    fc.property(moments, (moments) => {
      const owner = new Owner()
      const { resumeAfter } = IDLE_DEFAULTS
      let now = 0
      /** First looks without a reason since the last one with: of the machine, of its card. */
      let [quietMachine, quietCard]: (number | undefined)[] = [0, 0]
      let [everMachine, everCard] = [false, false]
      let [wasMachine, wasCard] = [true, true]
      for (const { wait, typed, program, memory, paused } of moments) {
        now += wait
        const verdict = owner.at(now, {
          ...presence({ idleFor: typed ? 0 : 600_000 }),
          programs: program ? ['steam'] : [],
          gpus: [card({ foreign: { memory: memory ? 20 * GIB : 0 } }, now)],
          ...(paused ? { pause: { since: ms(0) } } : {}),
        })
        const isFree = verdict.machine.length === 0
        const isCardFree = !verdict.gpus.has('GPU-1')
        const against = typed || program
        if ((against || paused) && isFree) return false
        if (memory && isCardFree) return false
        quietMachine = against ? undefined : (quietMachine ?? now)
        quietCard = memory ? undefined : (quietCard ?? now)
        everMachine ||= against
        everCard ||= memory
        const since = (from: number | undefined) => (now - (from ?? now)) * 1_000
        if (isFree && everMachine && !wasMachine && since(quietMachine) < resumeAfter) return false
        if (isCardFree && everCard && !wasCard && since(quietCard) < resumeAfter) return false
        if (isFree && !wasMachine) resumes++
        // Never at rest for ever either: the longest rest is 15 minutes.
        if (!isFree && !paused && since(quietMachine) > 900_000) return false
        wasMachine = isFree
        wasCard = isCardFree
      }
      return true
    }),
    { numRuns: 300 },
  )
  t.ok(resumes > 300, `it did come back, ${resumes} times`)
})
