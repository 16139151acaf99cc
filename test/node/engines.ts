import t from 'tap'
import { Lifetime } from '../../src/base/lifetime.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { Verdict } from '../../src/gpu/verdict.ts'
import { type Engines, startEngines } from '../../src/node/engines.ts'
import { Steward } from '../../src/node/steward.ts'
import type { Frame } from '../../src/node/supplier.ts'
import { ManualClock } from '../support/clock.ts'

t.test('the owner comes while models are loaded for the first time', async (t) => {
  const clock = new ManualClock()
  const life = new Lifetime()
  t.teardown(() => life.stop())
  let verdict: Verdict = { machine: [], gpus: new Map(), since: ms(0) }
  let wake = () => {}
  const watch = {
    current: () => verdict,
    async *changes(signal: AbortSignal) {
      while (!signal.aborted) {
        yield verdict
        await new Promise<void>((resolve) => {
          wake = resolve
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
      }
    },
    run: (signal: AbortSignal) => clock.sleep(ms(1e9), signal),
  }
  const calls: string[] = []
  const inference = {
    pause: async () => void calls.push('pause'),
    unload: async () => void calls.push('unload'),
    resume: () => void calls.push('resume'),
    start: (signal: AbortSignal) => clock.sleep(ms(600_000), signal),
    run: (signal: AbortSignal) => clock.sleep(ms(1e9), signal),
  }
  const steward = new Steward(
    { clock, log: silentLog(), inference, tenants: [{ services: ['a'], cards: () => [] }] },
    { grace: ms(1_000) },
  )
  const frame = { deps: { clock, log: silentLog() }, life } as unknown as Frame
  const energy = { run: async () => {} }
  const engines = { inference, machine: { watch }, steward, energy } as unknown as Engines
  startEngines(frame, engines, false).catch(() => {})
  await clock.advance(0)
  verdict = { ...verdict, machine: [{ name: 'input', text: 'you are using it now' }] }
  wake()
  for (let n = 0; n < 20; n++) await clock.advance(500)
  t.ok(calls.includes('unload'), 'ten seconds later he has his machine')
})
