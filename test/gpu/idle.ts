import { join } from 'node:path'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { IDLE_DEFAULTS, type IdleSettings } from '../../src/gpu/facts.ts'
import { IdleWatch } from '../../src/gpu/idle.ts'
import { type PauseState, Pauses } from '../../src/gpu/pauses.ts'
import type { GpuSample, GpuSamples } from '../../src/gpu/sample.ts'
import { type IdleSources, machineSources, paceOn } from '../../src/gpu/sources.ts'
import type { Verdict } from '../../src/gpu/verdict.ts'
import { ManualClock } from '../support/clock.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const CARD: GpuSample = {
  id: 'GPU-1',
  vendor: 'nvidia',
  index: 0,
  name: 'RTX',
  isShared: false,
  isAsleep: false,
  load: 0,
  processes: [],
}

/** A machine whose owner is away, until a test says otherwise. */
class Machine {
  idleFor = 600_000
  load = 0
  pause: PauseState = {}
  isBroken = false
  reads: string[] = []
  owns: ReadonlySet<number> = new Set()

  readonly sources: IdleSources = {
    presence: async () => {
      this.reads.push('presence')
      if (this.isBroken) throw new Error('broken')
      return {
        session: 'local',
        idleFor: ms(this.idleFor),
        isLocked: false,
        source: 'test',
        problems: ['Install more.'],
      }
    },
    inhibitors: async (session) => {
      this.reads.push(`inhibitors ${session}`)
      return []
    },
    battery: async () => {
      this.reads.push('battery')
      return 'mains'
    },
    programs: async () => {
      this.reads.push('programs')
      return []
    },
    gpus: async (): Promise<GpuSamples> => {
      this.reads.push('gpus')
      return { gpus: [{ ...CARD, load: this.load }], problems: ['No driver for a card.'] }
    },
  }
}

function setUp(t: Test, settings: Partial<IdleSettings> = {}, changes: Partial<IdleSources> = {}) {
  const clock = new ManualClock()
  const machine = new Machine()
  const controller = new AbortController()
  const watch = new IdleWatch(
    {
      clock,
      log: silentLog(),
      sources: { ...machine.sources, ...changes },
      foreign: ({ load = 0 }, own) => ({ load: own.size > 0 ? 0 : load, programs: [] }),
      own: () => machine.owns,
      pauses: { current: async () => machine.pause },
    },
    { settings: { ...IDLE_DEFAULTS, ...settings }, pace: paceOn('linux') },
  )
  const verdicts: Verdict[] = []
  const listen = async () => {
    for await (const verdict of watch.changes(controller.signal)) verdicts.push(verdict)
  }
  const running = watch.run(controller.signal).catch(() => {})
  const listening = listen()
  t.teardown(async () => {
    controller.abort(new Error('over'))
    await Promise.all([running, listening])
  })
  const seconds = async (count: number) => {
    for (let second = 0; second < count; second++) await clock.advance(1_000)
  }
  return { clock, machine, watch, verdicts, seconds, controller, running, listening }
}

const names = ({ machine, gpus }: Verdict) =>
  [machine, ...gpus.values()]
    .map((reasons) => reasons.map(({ name }) => name).join(' '))
    .join(' | ')

t.test('nothing may be used before the first look has ended', async (t) => {
  let answer = (_: GpuSamples) => {}
  const gpus = () => new Promise<GpuSamples>((resolve) => (answer = resolve))
  const { watch, seconds, verdicts } = setUp(t, {}, { gpus })
  t.match(watch.current().machine, [{ name: 'unknown', text: /not been looked at/ }])
  await seconds(1)
  t.match((await watch.poke()).machine, [{ text: /not been looked at/ }], 'one fact is missing')
  answer({ gpus: [], problems: [] })
  await seconds(1)
  t.strictSame(watch.current().machine, [])
  t.strictSame(verdicts.map(names), ['unknown', ''])
})

t.test('yields when somebody types, and comes back after a rest', async (t) => {
  const { machine, watch, seconds, verdicts, clock } = setUp(t)
  await seconds(1)
  const start = clock.now()
  machine.idleFor = 100
  await seconds(5)
  t.match(watch.current().machine, [{ name: 'input', text: /you are using it now/ }])
  const { since } = watch.current()
  t.ok(since - start <= 5_000)
  machine.idleFor = 4_000
  await seconds(5)
  t.match(watch.current().machine, [{ text: /you typed 4 s ago/ }], 'the figure is the newest')
  t.equal(watch.current().since, since)
  machine.idleFor = 200_000
  await seconds(6)
  t.match(watch.current(), { machine: [{ name: 'input', isOver: true }] })
  const until = watch.current().until ?? 0
  t.ok(until > clock.now())
  await seconds(60)
  t.strictSame(watch.current().machine, [])
  t.ok(watch.current().since - until < 1_000, 'as it was told')
  t.strictSame(verdicts.map(names), ['unknown', '', 'input', ''], 'a figure is no change')
})

t.test('a pause counts at once, by a command or by the file', async (t) => {
  const { machine, watch, seconds, verdicts } = setUp(t)
  await seconds(1)
  machine.pause = { pause: { since: ms(0) } }
  const before = machine.reads.length
  t.match((await watch.poke()).machine, [{ name: 'paused' }])
  t.equal(machine.reads.length, before, 'nothing slow is waited for')
  machine.pause = {}
  await seconds(1)
  t.strictSame(watch.current().machine, [], 'seen within a second')
  machine.pause = { problem: 'pause.json holds no pause.' }
  await seconds(1)
  t.strictSame(watch.current().machine, [])
  t.strictSame(watch.problems(), [
    'pause.json holds no pause.',
    'Install more.',
    'No driver for a card.',
  ])
  t.strictSame(verdicts.map(names), ['unknown', '', 'paused', ''])
})

t.test('a card yields alone; our own load is none', async (t) => {
  const { machine, watch, seconds } = setUp(t)
  await seconds(1)
  machine.load = 0.9
  machine.owns = new Set([4242])
  await seconds(20)
  t.equal(watch.current().gpus.size, 0)
  machine.owns = new Set()
  await seconds(5)
  t.equal(watch.current().gpus.size, 0, 'one look is not enough')
  await seconds(5)
  t.strictSame(watch.current().machine, [])
  t.match(watch.current().gpus.get('GPU-1'), [{ name: 'gpu-load', text: /90 %/ }])
  t.match(watch.facts(), { gpus: [{ foreign: { load: 0.9 } }], battery: 'mains' })
})

t.test('what cannot be read is believed for half a minute', async (t) => {
  const { machine, watch, seconds } = setUp(t)
  await seconds(1)
  machine.isBroken = true
  await seconds(29)
  t.strictSame(watch.current().machine, [])
  await seconds(3)
  t.match(watch.current().machine, [{ name: 'unknown', text: /whether somebody uses/ }])
  machine.isBroken = false
  await seconds(6)
  t.match(watch.current().machine, [{ name: 'unknown', isOver: true }])
  await seconds(60)
  t.strictSame(watch.current().machine, [])
})

t.test('a slow reading is begun once and holds up no other', async (t) => {
  let begun = 0
  const inhibitors = () => {
    begun++
    return new Promise<undefined>(() => {})
  }
  const { machine, watch, seconds } = setUp(t, {}, { inhibitors })
  await seconds(4)
  t.match(watch.current().machine, [{ name: 'unknown', text: /screen awake/ }], 'at the deadline')
  machine.idleFor = 0
  await seconds(60)
  t.equal(begun, 1)
  t.match(watch.current().machine[0], { name: 'input' })
})

t.test('reads what counts, as often as it should', async (t) => {
  const { machine, seconds } = setUp(t, { inhibitors: true })
  await seconds(21)
  const count = (name: string) => machine.reads.filter((read) => read.startsWith(name)).length
  t.equal(count('presence'), 5)
  t.equal(count('gpus'), 5)
  t.equal(count('programs'), 0, 'no list, no look')
  t.equal(count('inhibitors local'), 4, 'they know of the session from the second time on')
  const always = setUp(t, { serve: 'always' })
  await always.seconds(2)
  t.strictSame([...new Set(always.machine.reads)].sort(), ['battery', 'gpus'])
})

t.test('ends with its signal, and whoever listens too', async (t) => {
  const { clock, controller, running, listening, watch, seconds } = setUp(t)
  await seconds(2)
  controller.abort(new Error('over'))
  await running
  await listening
  t.equal(clock.sleeping, 0, 'no timer is left')
  const changes = watch.changes(controller.signal)
  t.strictSame(await changes.next(), { done: true, value: undefined })
})

t.test('who listens late hears the newest only', async (t) => {
  const { machine, watch, seconds, controller } = setUp(t)
  await seconds(1)
  const slow = watch.changes(controller.signal)
  t.equal(names((await slow.next()).value as Verdict), '')
  for (const pause of [{ since: ms(0) }, undefined, { since: ms(1) }]) {
    machine.pause = pause === undefined ? {} : { pause }
    await watch.poke()
  }
  t.equal(names((await slow.next()).value as Verdict), 'paused')
  const next = slow.next()
  machine.pause = {}
  await watch.poke()
  t.equal(names((await next).value as Verdict), '')
})

t.test('put together on a headless machine', async (t) => {
  const clock = new ManualClock()
  const { run } = scriptedRun({ 'loginctl list-sessions': '' })
  const root = t.testdir()
  const { signal } = new AbortController()
  const settings = IDLE_DEFAULTS
  const gpus = async () => ({ gpus: [CARD], problems: [] })
  const watch = new IdleWatch(
    {
      clock,
      log: silentLog(),
      sources: machineSources({ clock, run, platform: 'linux', root, gpus }, settings),
      foreign: () => ({ programs: [] }),
      own: () => new Set(),
      pauses: new Pauses({ now: () => clock.now() }, join(root, 'pause.json')),
    },
    { settings, pace: paceOn('linux') },
  )
  t.match(await watch.look(signal), { machine: [], since: clock.now() }, 'it may serve at once')
  t.match(watch.facts(), { presence: { session: 'none' }, battery: 'mains', inhibitors: [] })
})
