import t from 'tap'
import { foreignUse } from '../../src/gpu/foreign.ts'
import { NVIDIA_FIELDS, parseCards, parsePmon } from '../../src/gpu/nvidia.ts'
import type { GpuProcess, GpuSample } from '../../src/gpu/sample.ts'
import { recorded } from '../support/gpu/recorded.ts'

const GIB = 1024 ** 3
const nobody = new Set<number>()
const us = new Set([7])

const card = (more: Partial<GpuSample> = {}): GpuSample => ({
  ...{ id: 'a', vendor: 'nvidia', index: 0, name: 'card', isShared: false, isAsleep: false },
  ...{ memoryTotal: 24 * GIB, memoryUsed: 10 * GIB, load: 0.9 },
  ...more,
})
const compute = (pid: number, more: Partial<GpuProcess> = {}): GpuProcess => ({
  ...{ pid, kind: 'compute' },
  ...more,
})

t.test('on the two cards of a player', async (t) => {
  const fields = parseCards(recorded('rtx4090-two.gpus.txt'), NVIDIA_FIELDS)
  const programs = parsePmon(recorded('rtx4090-two.pmon.txt'))
  const [first, second] = fields.map((one) => ({
    ...one,
    processes: programs.get(one.index) ?? [],
  }))
  const own = new Set([31_337])
  const memory = (19_876 - 12_012) * 1024 ** 2
  t.strictSame(first && foreignUse(first, own, { isBusy: true }), {
    memory,
    load: 0.35,
    programs: [],
  })
  t.strictSame(
    first && foreignUse(first, nobody),
    { memory: 19_876 * 1024 ** 2, load: 0.97, programs: ['node'] },
    'the same card, none of it ours',
  )
  t.strictSame(second && foreignUse(second, own), {
    ...{ memory: 2 * 1024 ** 2, load: 0, programs: [] },
  })
})

t.test('who computes counts by being there, who draws by what he does', async (t) => {
  const processes: GpuProcess[] = [
    compute(7, { name: 'node', memory: 8 * GIB, load: 0.8 }),
    compute(8, { name: 'python3', memory: 1 * GIB, load: 0 }),
    compute(9),
    compute(10, { name: 'python3' }),
    { pid: 11, kind: 'graphics', name: 'Xorg', load: 0.05 },
    { pid: 12, kind: 'both', name: 'game', load: 0.1 },
  ]
  const use = foreignUse(card({ processes }), us, { isBusy: true })
  t.strictSame(use.programs, ['python3', 'process 9'])
  t.equal(use.memory, 2 * GIB)
  t.ok(Math.abs((use.load ?? 0) - 0.15) < 1e-9, 'without ours')
})

t.test('without a list of programs', async (t) => {
  t.strictSame(
    foreignUse(card(), us),
    { memory: 10 * GIB, load: 0.9, programs: [] },
    'we run nothing: it is of others',
  )
  t.strictSame(foreignUse(card(), us, { isBusy: true }), { programs: [] }, 'not known')
  t.strictSame(
    foreignUse(card({ load: 0 }), us, { isBusy: false, isLoaded: true }),
    { load: 0, programs: [] },
    'our weights lie there, but we do nothing',
  )
})

t.test('in a container processes have other numbers', async (t) => {
  const processes = [compute(4_000, { name: 'node', memory: 9 * GIB, load: 0.9 })]
  t.strictSame(
    foreignUse(card({ processes }), us, { isBusy: true }),
    { programs: [] },
    'it may be us',
  )
  t.strictSame(foreignUse(card({ processes }), us).programs, ['node'], 'it is not: we run nothing')
})

t.test('a driver that tells no load of a program', async (t) => {
  const processes = [compute(7, { memory: 8 * GIB }), { pid: 8, kind: 'graphics' } as const]
  const busy = foreignUse(card({ processes }), us, { isBusy: true })
  t.strictSame(busy, { memory: 2 * GIB, programs: [] })
  const idle = foreignUse(card({ processes, load: 0.4 }), us, { isBusy: false, isLoaded: true })
  t.strictSame(idle, { memory: 2 * GIB, load: 0.4, programs: [] }, 'we do nothing: all is theirs')
  const unknown = foreignUse(card({ processes: [compute(7)] }), us)
  t.notOk('memory' in unknown, 'nor of its memory')
})

t.test('where others are hidden, what is left of the whole is theirs', async (t) => {
  const processes = [compute(7, { load: 0.3, memory: 8 * GIB })]
  const hidden = { processes, hidesProcesses: true, load: 0.75 }
  t.strictSame(foreignUse(card(hidden), us, { isBusy: true }), {
    ...{ memory: 2 * GIB, load: 0.45, programs: [] },
  })
  const seen = [...processes, { pid: 8, kind: 'graphics', load: 0.6 } as const]
  t.equal(foreignUse(card({ ...hidden, processes: seen }), us, { isBusy: true }).load, 0.6)
})

t.test('of a card that tells no memory as a whole, that of its programs', async (t) => {
  const processes = [compute(7, { memory: 8 * GIB }), compute(8, { memory: GIB, name: 'x' })]
  const { memoryUsed: _, ...slice } = card({ processes })
  t.equal(foreignUse(slice, us).memory, GIB)
  t.notOk('memory' in foreignUse({ ...slice, hidesProcesses: true }, us))
  t.notOk('memory' in foreignUse({ ...slice, processes: [...processes, compute(9)] }, us))
})

t.test('programs that work for us are known by their names', async (t) => {
  const names = ['/usr/local/bin/ollama', 'ollama', 'Ollama.exe', 'ollama_llama_server', 'ollamax']
  const processes = names.map((name, pid) => compute(pid + 100, { name, memory: 0, load: 0 }))
  const use = { isBusy: true, names: ['ollama'] }
  t.strictSame(foreignUse(card({ processes }), nobody, use).programs, [names[0], 'ollamax'])
})

t.test('nobody uses a card that sleeps', async (t) => {
  const asleep = card({ isAsleep: true })
  t.strictSame(foreignUse(asleep, us), { memory: 0, load: 0, programs: [] })
})
