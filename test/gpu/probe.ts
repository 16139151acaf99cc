import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { GpuProbe } from '../../src/gpu/probe.ts'
import type { Runner, RunResult } from '../../src/gpu/run.ts'
import { ManualClock } from '../support/clock.ts'
import {
  done,
  failed,
  nvidiaOf,
  RecordedPrograms,
  recorded,
  treeOf,
} from '../support/gpu/recorded.ts'

const { signal } = new AbortController()
const amdgpu = recorded('fdinfo-amdgpu.txt')
const xe = recorded('fdinfo-xe.txt')

/** Lines of files under `sys`. */
const sysOf = (...names: string[]) =>
  names
    .map(recorded)
    .join('\n')
    .replace(/^(?=(class|bus)\/)/gm, 'sys/')

function setUp(
  t: Test,
  {
    answers = {},
    lines = '',
    more = {},
    platform = 'linux',
  }: {
    answers?: Record<string, RunResult>
    lines?: string
    more?: Record<string, string>
    platform?: string
  },
) {
  const programs = new RecordedPrograms(answers)
  const clock = new ManualClock()
  const root = treeOf(t, lines, { 'pci.ids': recorded('pci.ids.txt'), ...more })
  const roots = {
    sys: join(root, 'sys'),
    proc: join(root, 'proc'),
    pciIds: [join(root, 'pci.ids')],
  }
  const probe = new GpuProbe({ run: programs.run, clock, platform, roots })
  const write = (path: string, text: string) => writeFile(join(root, path), text)
  return { programs, clock, probe, write, sample: () => probe.sample(signal) }
}

t.test('cards of all makers, in a fixed order', async (t) => {
  const { sample } = setUp(t, {
    answers: nvidiaOf('rtx3060-desktop', ['pmon']),
    lines: sysOf('arc.sys.txt', 'rx7900xtx.sys.txt').replaceAll('card1', 'card2'),
  })
  const { gpus } = await sample()
  t.strictSame(
    gpus.map(({ vendor, index, name }) => [vendor, index, name]),
    [
      ['nvidia', 0, 'NVIDIA GeForce RTX 3060'],
      ['amd', 0, 'Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M'],
      ['intel', 0, 'UHD Graphics 770'],
    ],
  )
})

t.test('no card at all is no problem, and nothing is started for it again', async (t) => {
  const { programs, clock, sample } = setUp(t, {})
  for (let at = 0; at < 3; at++) t.strictSame(await sample(), { gpus: [], problems: [] })
  t.equal(programs.asked.length, 1)
  await clock.advance(5 * 60_000)
  await sample()
  t.equal(programs.asked.length, 2, 'it may be installed meanwhile')
})

t.test('a problem is there while it lasts', async (t) => {
  const { programs, clock, sample } = setUp(t, {
    answers: { 'nvidia-smi --query-gpu': failed(recorded('driver-failed.txt')) },
    lines: sysOf('rx7900xtx.sys.txt'),
  })
  for (let at = 0; at < 2; at++) {
    const { gpus, problems } = await sample()
    t.match(problems, [/driver does not run/])
    t.equal(problems.length, 1)
    t.match(gpus, [{ vendor: 'amd' }], 'the other card is seen')
  }
  Object.assign(programs.answers, nvidiaOf('rtx3060-desktop', ['pmon']))
  await clock.advance(15_000)
  t.strictSame((await sample()).problems, [])
})

t.test('a card of NVIDIA without its driver', async (t) => {
  const { sample } = setUp(t, {
    more: {
      'sys/class/drm/card0/device/uevent':
        'DRIVER=nouveau\nPCI_ID=10DE:28E0\nPCI_SLOT_NAME=0000:01:00.0\n',
    },
  })
  t.match(await sample(), { gpus: [], problems: [/no nvidia-smi/] })
})

t.test('under Windows nothing is looked for in folders', async (t) => {
  const lines = sysOf('rx7900xtx.sys.txt')
  t.match(await setUp(t, { platform: 'win32', lines }).sample(), {
    gpus: [],
    problems: [/Windows/],
  })
  const answers = nvidiaOf('windows-wddm', ['pmon', 'apps'])
  t.match(await setUp(t, { platform: 'win32', answers }).sample(), {
    gpus: [{ name: 'NVIDIA GeForce RTX 4080' }],
    problems: [],
  })
})

const BLENDER = {
  'proc/100/comm': 'blender\n',
  'proc/100/fd/7': '-> /dev/dri/renderD128',
  'proc/100/fdinfo/7': amdgpu,
}

t.test('who uses an AMD card', async (t) => {
  const kfd = 'sys/class/kfd/kfd'
  const { clock, write, sample } = setUp(t, {
    lines: sysOf('rx7900xtx.sys.txt'),
    more: {
      ...BLENDER,
      [`${kfd}/topology/nodes/1/gpu_id`]: '51250\n',
      [`${kfd}/topology/nodes/1/properties`]: 'location_id 768\ndomain 0\n',
      [`${kfd}/proc/4711/vram_51250`]: '1000000\n',
    },
  })
  const memory = 400_000 * 1024
  const rocm = { pid: 4711, kind: 'compute', memory: 1_000_000 }
  const { gpus } = await sample()
  t.strictSame(gpus[0]?.processes, [{ pid: 100, kind: 'graphics', name: 'blender', memory }, rocm])
  await clock.advance(1_000)
  await write('proc/100/fdinfo/7', amdgpu.replace('20123456789', '20623456789'))
  const later = (await sample()).gpus[0]
  t.match(later?.processes, [{ pid: 100, load: 0.5 }, rocm])
  t.equal(later?.load, 0, "the card's own figure stays")
})

t.test('an Intel card is what its programs do with it', async (t) => {
  const { clock, write, sample } = setUp(t, {
    lines: sysOf('arc.sys.txt'),
    more: {
      'proc/100/comm': 'llama-server\n',
      'proc/100/fd/7': '-> /dev/dri/renderD129',
      'proc/100/fdinfo/7': xe,
    },
  })
  const first = (await sample()).gpus
  t.match(first[0], { load: 0, memoryUsed: 0 }, 'nobody uses the other one')
  t.equal(first[1]?.memoryUsed, 23_992 * 1024)
  t.notOk('load' in (first[1] ?? {}), 'at the first look')
  await clock.advance(1_000)
  const busy = xe
    .replaceAll('7655183225', '7655283225')
    .replace('cycles-rcs:\t28257900', 'cycles-rcs:\t28307900')
  await write('proc/100/fdinfo/7', busy)
  await write('sys/bus/pci/devices/0000:04:00.0/hwmon/hwmon7/energy1_input', '1530000000\n')
  t.match((await sample()).gpus[1], { load: 0.5, power: 30, processes: [{ load: 0.5 }] })
})

t.test('an AMD card that falls asleep keeps its name and loses its load', async (t) => {
  const { write, sample } = setUp(t, { lines: sysOf('rx7900xtx.sys.txt'), more: BLENDER })
  const device = 'sys/bus/pci/devices/0000:03:00.0'
  await write(`${device}/product_name`, 'AMD Radeon RX 7900 XTX\n')
  await sample()
  await write(`${device}/power/runtime_status`, 'suspended\n')
  const [card] = (await sample()).gpus
  t.match(card, { isAsleep: true, name: 'AMD Radeon RX 7900 XTX', memoryTotal: 25_753_026_560 })
  for (const key of ['load', 'processes', 'power']) t.notOk(key in (card ?? {}), key)
})

t.test('a Mac', async (t) => {
  const { programs, sample } = setUp(t, {
    platform: 'darwin',
    answers: {
      'ioreg -r': done(recorded('apple-m2.ioreg.txt')),
      'sysctl -n': done('17179869184\n'),
    },
  })
  t.match(await sample(), { gpus: [{ id: 'apple', memoryTotal: 16 * 1024 ** 3 }], problems: [] })
  await sample()
  t.strictSame(programs.count(), { ioreg: 2, 'hw.memsize': 1 })
  programs.answers['ioreg -r'] = done(recorded('apple-intel.ioreg.txt'))
  t.strictSame(await sample(), { gpus: [], problems: [] })
  programs.answers['ioreg -r'] = { is: 'late' }
  t.match(await sample(), { gpus: [], problems: [/ioreg/] })
})

t.test('two who look at the same time do so one after the other', async (t) => {
  const programs = new RecordedPrograms(nvidiaOf('rtx3060-desktop', ['pmon']))
  let running = 0
  let most = 0
  const run: Runner = async (...call) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running--
    return await programs.run(...call)
  }
  const roots = { sys: '/nowhere', proc: '/nowhere', pciIds: [] }
  const probe = new GpuProbe({ run, clock: new ManualClock(), platform: 'linux', roots })
  const controller = new AbortController()
  const reason = new Error('stopped')
  const first = probe.sample(controller.signal)
  const second = probe.sample(signal)
  const third = probe.sample(signal)
  controller.abort(reason)
  await t.rejects(first, reason)
  t.match(await second, { gpus: [{ index: 0 }] }, 'one that was stopped does not stop the other')
  t.match(await third, { gpus: [{ index: 0 }] })
  t.equal(most, 1)
})
