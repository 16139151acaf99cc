import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import type { Machine } from '../../src/gpu/machine.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { hardwareOf, readHardware, systemCards } from '../../src/node/hardware.ts'

const GIB = 1024 ** 3
const INVENTORY: Machine = {
  cpu: 'A processor',
  physicalCores: 8,
  threads: 16,
  memoryTotal: 32 * GIB,
  memoryFree: 20 * GIB,
  system: 'Some system',
}

function sample(more: Partial<GpuSample>): GpuSample {
  return {
    id: 'GPU-1',
    vendor: 'nvidia',
    index: 0,
    name: 'NVIDIA GeForce RTX 3060',
    memoryTotal: 12 * GIB,
    memoryUsed: 2 * GIB,
    isShared: false,
    isAsleep: false,
    ...more,
  }
}

const of = (gpus: readonly GpuSample[], inventory = INVENTORY) =>
  hardwareOf(inventory, { gpus, problems: ['something'] })

t.test('cards with memory of their own', async (t) => {
  const { machine, memory, problems } = of([sample({ hasDisplay: true })])
  t.strictSame(machine, {
    gpus: [
      {
        id: 'GPU-1',
        name: 'NVIDIA GeForce RTX 3060',
        total: 12 * GIB,
        free: 10 * GIB,
        isShared: false,
        hasDisplay: true,
      },
    ],
    memoryFree: 20 * GIB,
  })
  t.equal(memory.cores, 7, 'one core is left to the rest')
  t.strictSame(problems, ['something'])
  const { memoryUsed: _, ...asleep } = sample({ isAsleep: true })
  t.equal(of([asleep]).machine.gpus[0]?.free, 12 * GIB, 'a card that sleeps holds nothing')
  t.equal(of([sample({ memoryUsed: 13 * GIB })]).machine.gpus[0]?.free, 0)
  const { memoryTotal: __, ...silent } = sample({})
  t.strictSame(of([silent]).machine.gpus, [])
  t.match(of([silent]).problems[1], /does not say how much memory/)
})

t.test('of a card that is split its parts are used', async (t) => {
  const parts = [
    sample({ id: 'GPU-1' }),
    sample({ id: 'MIG-1', partOf: 'GPU-1', memoryTotal: 5 * GIB }),
    sample({ id: 'MIG-2', partOf: 'GPU-1', memoryTotal: 5 * GIB }),
  ]
  t.strictSame(
    of(parts).machine.gpus.map(({ id }) => id),
    ['MIG-1', 'MIG-2'],
  )
})

t.test('graphics that share the memory of the machine', async (t) => {
  const apple = (gib: number, memoryFree = 20 * GIB) =>
    of(
      [
        sample({
          id: 'apple',
          vendor: 'apple',
          name: 'Apple M2',
          isShared: true,
          memoryTotal: gib * GIB,
        }),
      ],
      { ...INVENTORY, memoryTotal: gib * GIB, memoryFree },
    ).machine.gpus[0]
  t.match(apple(16, 11 * GIB), { total: Math.floor((16 * GIB * 2) / 3), isShared: true })
  t.equal(apple(16, 8 * GIB)?.free, 8 * GIB)
  t.equal(apple(64)?.total, 48 * GIB)
  const uhd = of([sample({ vendor: 'intel', name: 'Intel UHD Graphics 630', isShared: true })])
  t.strictSame(uhd.machine.gpus, [])
  t.match(uhd.problems[1], /^Intel UHD Graphics 630 is a part of the processor/)
  const strix = of([sample({ vendor: 'amd', name: 'Radeon 8060S Graphics', isShared: true })])
  t.equal(strix.machine.gpus.length, 1, 'one that is known to be fast is used')
})

t.test('a processor with few threads', async (t) => {
  t.equal(of([], { ...INVENTORY, threads: 2 }).memory.cores, 1)
  t.equal(of([], { ...INVENTORY, threads: 1 }).memory.cores, 1)
})

t.test('this machine', async (t) => {
  const { signal } = new AbortController()
  const deps = { clock: systemClock, cards: systemCards(systemClock, { PATH: '/usr/bin:/bin' }) }
  const { machine, memoryTotal, cpu } = await readHardware(deps, signal)
  t.ok(machine.memoryFree > 0 && machine.memoryFree <= memoryTotal)
  t.ok(cpu.length > 0)
  for (const { free, total } of machine.gpus) t.ok(free <= total)
})
