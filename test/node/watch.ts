import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { machine } from '../../src/config/machine.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { buildWatch, machineRunner, type WatchDeps } from '../../src/node/watch.ts'
import { MISSING } from '../support/gpu/recorded.ts'

const { signal } = new AbortController()
const MIB = 1024 ** 2

const CARD: GpuSample = {
  ...{ id: 'GPU-1', vendor: 'nvidia', index: 0, name: 'RTX', isShared: false, isAsleep: false },
  ...{ load: 0.9, memoryTotal: 12_288 * MIB, memoryUsed: 8_000 * MIB },
  processes: [{ pid: 77, name: 'node', kind: 'compute', memory: 7_900 * MIB, load: 0.9 }],
}

/** A server without a screen, where nothing is installed. */
function built(t: Test, over: Partial<WatchDeps> = {}) {
  const root = t.testdir({ data: {}, proc: {}, sys: {}, tmp: {} })
  return buildWatch({
    ...{ clock: systemClock, log: silentLog(), platform: 'linux', root },
    config: { machine: machine.parse(undefined), dataDir: join(root, 'data') },
    environment: { session: {} },
    own: () => new Set(),
    isBusy: () => false,
    isLoaded: () => false,
    run: async () => MISSING,
    probe: { sample: async () => ({ gpus: [CARD], problems: ['No sensor.'] }) },
    ...over,
  })
}

t.test('somebody who computes has his card; our own engine is nobody', async (t) => {
  const others = built(t)
  const verdict = await others.watch.look(signal)
  t.strictSame(verdict.machine, [], 'nobody sits there')
  t.match(verdict.gpus.get('GPU-1'), [{ name: 'gpu-load' }, { name: 'gpu-memory' }])
  t.strictSame(others.watch.problems(), ['No sensor.'])
  const own = () => new Set([77])
  const ours = built(t, { own, isBusy: () => true, isLoaded: () => true })
  t.equal((await ours.watch.look(signal)).gpus.size, 0)
})

t.test('a program that works for us is known by its name', async (t) => {
  const { watch } = built(t, { names: ['node'], isBusy: () => true })
  t.equal((await watch.look(signal)).gpus.size, 0)
  const [card] = watch.facts().gpus ?? []
  t.strictSame(card?.foreign, { memory: 100 * MIB, load: 0, programs: [] })
})

t.test('a pause is a file in the data folder, seen at once', async (t) => {
  const { watch, pauses } = built(t)
  await pauses.pause(undefined, 'a film')
  t.match((await watch.look(signal)).machine, [{ name: 'paused', text: /a film/ }])
  await pauses.resume()
  t.strictSame((await watch.poke()).machine, [])
})

t.test('programs see the way to the session and nothing else', async (t) => {
  const folder = t.testdir()
  const file = join(folder, 'told')
  await writeFile(file, '#!/bin/sh\necho "$DISPLAY $LC_ALL $SECRET"\n')
  await chmod(file, 0o755)
  const session = { PATH: `${folder}:/usr/bin:/bin`, DISPLAY: ':7' }
  const run = machineRunner({ clock: systemClock, environment: { session }, platform: 'linux' })
  t.strictSame(await run('told', [], signal), { is: 'done', text: ':7 C \n' })
})

t.test('without a probe it has one of its own', async (t) => {
  const asked: string[] = []
  const { probe } = built(t, {
    probe: undefined as never,
    platform: 'darwin',
    run: async (program) => {
      asked.push(program)
      return MISSING
    },
  })
  t.match(await probe.sample(signal), { gpus: [], problems: [/ioreg/] })
  t.strictSame(asked, ['ioreg'])
})
