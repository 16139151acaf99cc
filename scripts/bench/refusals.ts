/**
 * How fast a "no" is, and how fast the machine is given back: relays to a supplier whose slots and queue are full, and a
 * pause by hand in the middle of answers; llama.cpp with the tiny model in a process of its own.
 * Run: npx tsc && node dist/scripts/bench/refusals.js
 */
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { tellDaemon } from '../../src/ops/admin.ts'
import { Network, until } from '../../test/support/network.ts'
import { host, percentile, row } from './measure.ts'

const CALLERS = 4
const WANTED = 300
const PAUSES = 20

const bench = host()
const never = new AbortController().signal
try {
  const network = await Network.open(bench, {
    engine: 'tiny',
    slots: 1,
    stake: 10n ** 15n,
    params: { shared: { numBlocksPerSession: 60n } },
    service: { queueMax: 1 },
    config: { machine: { serve: 'always', onBattery: true, yieldGrace: '0s', resumeAfter: '1s' } },
  })
  await network.start(['--log-level', 'warn'])
  const refused: number[] = []
  const isOver = () => refused.length >= WANTED
  const caller = async () => {
    while (!isOver()) {
      const start = performance.now()
      const { inner } = await network.relay('Count from 1 to 9.')
      if (inner?.status === 429) refused.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
  const [half, most] = [percentile(refused, 0.5), percentile(refused, 0.99)]
  row('a refusal through relays, p50 and p99, ms', `${half.toFixed(1)}, ${most.toFixed(1)}`)

  const times: number[] = []
  for (let n = 0; n < PAUSES; n++) {
    await until(async () => (await network.relay('Hello!')).inner?.status === 200, 'it serves')
    const running = network.relay('Count from 1 to 9.')
    await systemClock.sleep(ms(5))
    const start = performance.now()
    await tellDaemon(network.runFile, 'pause', {}, never)
    times.push(performance.now() - start)
    await running
    await tellDaemon(network.runFile, 'resume', {}, never)
  }
  const [usual, longest] = [percentile(times, 0.5), percentile(times, 0.99)]
  row(
    'a pause by hand until the engine is gone, p50 and p99, ms',
    `${usual.toFixed(0)}, ${longest.toFixed(0)}`,
  )
} finally {
  await bench.close()
}
