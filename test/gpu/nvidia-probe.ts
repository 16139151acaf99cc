import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { NvidiaProbe } from '../../src/gpu/nvidia-probe.ts'
import type { RunResult } from '../../src/gpu/run.ts'
import { ManualClock } from '../support/clock.ts'
import {
  done,
  failed,
  MISSING,
  nvidiaOf,
  RecordedPrograms,
  recorded,
  treeOf,
} from '../support/gpu/recorded.ts'

const { signal } = new AbortController()

function setUp(t: Test, answers: Record<string, RunResult>, tree: Record<string, string> = {}) {
  const programs = new RecordedPrograms(answers)
  const clock = new ManualClock()
  const root = treeOf(t, '', tree)
  const probe = new NvidiaProbe({
    ...{ run: programs.run, clock, isLinux: true },
    ...{ sys: join(root, 'sys'), proc: join(root, 'proc') },
  })
  return { programs, clock, root, probe, sample: () => probe.sample(signal) }
}

t.test('a quiet card costs one process', async (t) => {
  const { programs, clock, sample } = setUp(t, nvidiaOf('rtx3060-desktop', ['pmon', 'apps']))
  const first = await sample()
  t.strictSame(
    first?.gpus[0]?.processes?.map(({ name }) => name),
    ['Xorg', 'gnome-shell', 'firefox'],
  )
  t.strictSame(programs.count(), { '--query-gpu': 1, pmon: 1 }, 'its memory is told by pmon')
  await clock.advance(5_000)
  const second = await sample()
  t.strictSame(programs.count(), { '--query-gpu': 1 })
  t.strictSame(
    second?.gpus[0]?.processes?.map(({ load }) => load),
    [undefined, 0, 0],
  )
  await clock.advance(60_000)
  await sample()
  t.strictSame(programs.count(), { '--query-gpu': 1, pmon: 1 }, 'after a minute anew')
  const quiet = recorded('rtx3060-desktop.gpus.txt')
  for (const [what, text] of [
    ['memory', quiet.replace(' 611,', ' 1511,')],
    ['load', quiet.replace(', 0, 41', ', 30, 41')],
  ] as const) {
    programs.answers['nvidia-smi --query-gpu'] = done(text)
    await sample()
    t.strictSame(programs.count(), { '--query-gpu': 1, pmon: 1 }, `${what} has changed`)
  }
})

t.test('of a busy machine each card has its own programs', async (t) => {
  const { sample } = setUp(t, nvidiaOf('rtx4090-two', ['pmon']))
  const { gpus = [], problems } = (await sample()) ?? {}
  t.strictSame(
    gpus.map(({ processes }) => processes?.map(({ pid, load }) => [pid, load])),
    [
      [
        [2207, 0],
        [31_337, 0.61],
        [40_021, 0.35],
      ],
      [],
    ],
  )
  t.strictSame(problems, [])
})

t.test('an older driver is asked for less, and once for what it does not know', async (t) => {
  const refused = new Set(['display_active', 'mig.mode.current'])
  const programs = new RecordedPrograms(nvidiaOf('tesla-old', ['pmon', 'apps']))
  const run: typeof programs.run = async (program, args, signal) => {
    const field = args[0]
      ?.split('=')[1]
      ?.split(',')
      .find((one) => refused.has(one))
    const result = await programs.run(program, args, signal)
    return field === undefined ? result : failed(`Field "${field}" is not a valid field to query.`)
  }
  const probe = new NvidiaProbe({
    run,
    clock: new ManualClock(),
    sys: '',
    proc: '',
    isLinux: false,
  })
  const { gpus = [] } = (await probe.sample(signal)) ?? {}
  t.strictSame(
    gpus.map(({ name, load }) => [name, load]),
    [
      ['Tesla K80', 0],
      ['Tesla K80', undefined],
    ],
  )
  t.match(gpus[1]?.processes, [{ pid: 14_533, load: 0.45, memory: 52 * 1024 * 1024 }], 'of both')
  t.match(programs.count(), { '--query-gpu': 3 })
  await probe.sample(signal)
  t.match(programs.count(), { '--query-gpu': 1 })
})

t.test('under Windows memory of programs is not told, and not asked for ever', async (t) => {
  const { programs, sample } = setUp(t, nvidiaOf('windows-wddm', ['pmon', 'apps']))
  const { gpus = [] } = (await sample()) ?? {}
  t.strictSame(
    gpus[0]?.processes?.map(({ name, kind, memory }) => [name, kind, memory]),
    ['dwm.exe', 'explorer.exe', 'Discord.exe'].map((name) => [name, 'both', undefined]),
  )
  t.match(programs.count(), { '--query-compute-apps': 1 })
  await sample()
  t.strictSame(programs.count(), { '--query-gpu': 1, pmon: 1 })
})

t.test('slices have the programs that are said to be theirs', async (t) => {
  const h100 = setUp(t, nvidiaOf('h100-mig', ['apps', 'list']))
  const { gpus = [], problems } = (await h100.sample()) ?? {}
  t.strictSame(
    gpus.map(({ processes }) => processes?.map(({ name }) => name)),
    [['python3'], [], []],
  )
  t.strictSame(problems, [])
  t.strictSame(h100.programs.count(), {
    '--query-gpu': 1,
    '-L': 1,
    pmon: 1,
    '--query-compute-apps': 1,
  })
  await h100.sample()
  t.strictSame(h100.programs.count(), { '--query-gpu': 1, '--query-compute-apps': 1 })
  const a100 = setUp(t, nvidiaOf('a100-mig-old', ['apps', 'list']))
  const old = (await a100.sample())?.gpus ?? []
  t.strictSame(
    old.map(({ processes }) => processes),
    [undefined, undefined],
    'of the card: of which slice is not known',
  )
  a100.programs.answers['nvidia-smi -L'] = done('GPU 0: NVIDIA A100 (UUID: GPU-77aa)\n')
  await a100.clock.advance(60_000)
  t.match(await a100.sample(), { gpus: [{ index: 0 }], problems: [/MIG is on .* no slices/] })
})

t.test('a driver that fails is a sentence, and is left in peace for a while', async (t) => {
  const answers = { 'nvidia-smi --query-gpu': failed(recorded('driver-failed.txt')) }
  const { programs, clock, sample } = setUp(t, answers)
  t.match(await sample(), { gpus: [], problems: [/driver does not run/] })
  await clock.advance(5_000)
  t.match(await sample(), { gpus: [], problems: [/driver does not run/] })
  t.strictSame(programs.count(), { '--query-gpu': 1 })
  Object.assign(programs.answers, nvidiaOf('rtx3060-desktop', ['pmon']))
  await clock.advance(10_000)
  t.match(await sample(), { gpus: [{ index: 0 }], problems: [] })
  programs.answers['nvidia-smi --query-gpu'] = { is: 'late' }
  t.match(await sample(), { gpus: [], problems: [/does not answer/] })
  await sample()
  programs.count()
  await clock.advance(14_000)
  t.match(await sample(), { problems: [/does not answer/] })
  t.strictSame(programs.count(), {}, 'a late one is asked again at once, then less and less')
  Object.assign(programs.answers, nvidiaOf('rtx3060-desktop', ['pmon']))
  await clock.advance(1_000)
  t.match(await sample(), { gpus: [{ index: 0 }], problems: [] })
  programs.answers['nvidia-smi --query-gpu'] = done('No devices were found\n')
  t.match(await sample(), { gpus: [], problems: [/finds no card/] }, 'some versions end well')
  await clock.advance(15_000)
  programs.answers['nvidia-smi --query-gpu'] = MISSING
  t.equal(await sample(), undefined)
})

const SLEEPING = {
  'sys/bus/pci/drivers/nvidia/0000:01:00.0/power/runtime_status': 'suspended\n',
  'sys/bus/pci/drivers/nvidia/bind': '',
  'proc/driver/nvidia/gpus/0000:01:00.0/information': recorded('laptop.information.txt'),
}

t.test('a card that sleeps is not woken', async (t) => {
  const { programs, sample, root } = setUp(t, nvidiaOf('laptop', ['pmon']), SLEEPING)
  const id = 'GPU-c0ffee00-aaaa-bbbb-cccc-0123456789ab'
  const name = 'NVIDIA GeForce RTX 4060 Laptop GPU'
  t.strictSame(await sample(), {
    gpus: [
      {
        ...{ id, vendor: 'nvidia', index: 0, pci: '0000:01:00.0', name },
        ...{ isShared: false, isAsleep: true },
      },
    ],
    problems: [],
  })
  t.strictSame(programs.asked, [])
  const status = join(root, 'sys/bus/pci/drivers/nvidia/0000:01:00.0/power')
  await rm(status, { recursive: true })
  t.match(await sample(), { gpus: [{ id, isAsleep: false, load: 0 }] }, 'awake: its id is the same')
})

t.test('of two cards the one that is awake is asked alone', async (t) => {
  const { programs, sample } = setUp(t, nvidiaOf('rtx3060-desktop', ['pmon']), {
    ...Object.fromEntries(
      Object.entries(SLEEPING).map(([path, text]) => [path.replaceAll('01:00', '02:00'), text]),
    ),
    'sys/bus/pci/drivers/nvidia/0000:01:00.0/power/runtime_status': 'active\n',
  })
  const { gpus = [] } = (await sample()) ?? {}
  t.strictSame(
    gpus.map(({ index, isAsleep }) => [index, isAsleep]),
    [
      [0, false],
      [1, true],
    ],
  )
  t.match(programs.asked[0], /--id=0000:01:00\.0 --query-gpu/)
})
