import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { PowerCaps } from '../../src/gpu/power.ts'
import type { Runner, RunResult } from '../../src/gpu/run.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { done, failed, RecordedPrograms, recorded, treeOf } from '../support/gpu/recorded.ts'

const { signal } = new AbortController()
const LIMITS = 'nvidia-smi --query-gpu'
const SET = 'nvidia-smi --power-limit'

const nvidia: GpuSample = {
  ...{ id: 'GPU-abcdef', vendor: 'nvidia', index: 0, name: 'RTX 3060' },
  ...{ isShared: false, isAsleep: false },
}
const amd: GpuSample = {
  ...nvidia,
  id: '0000:03:00.0',
  pci: '0000:03:00.0',
  vendor: 'amd',
  name: 'RX',
}

function setUp(answers: Record<string, RunResult>, sys = '/nowhere') {
  const programs = new RecordedPrograms(answers)
  return { programs, caps: new PowerCaps({ run: programs.run, sys }) }
}

/** A driver that does as it is told. */
function driver(now = 170) {
  const programs = new RecordedPrograms({})
  const run: Runner = async (program, args, signal) => {
    const set = args.find((arg) => arg.startsWith('--power-limit='))?.split('=')[1]
    if (set !== undefined) now = Number(set)
    programs.answers['nvidia-smi --'] = done(
      set === undefined ? `100.00, 212.00, ${now}\n` : 'All done.\n',
    )
    return await programs.run(program, args, signal)
  }
  return { programs, run, caps: new PowerCaps({ run, sys: '/nowhere' }) }
}

t.test('a limit in the range is set, and what was there is put back', async (t) => {
  const { programs, caps } = driver()
  t.strictSame(await caps.rangeOf(nvidia, signal), { min: 100, max: 212, now: 170 })
  await caps.capPower(nvidia, 120, signal)
  t.strictSame([...caps.found], [['GPU-abcdef', 170]])
  programs.asked.splice(0)
  await caps.capPower(nvidia, 120, signal)
  t.equal(programs.asked.length, 1, 'it is so already')
  await caps.capPower(nvidia, 110.126, signal)
  t.match(programs.asked.at(-2), '--id=GPU-abcdef --power-limit=110.13')
  t.strictSame([...caps.found], [['GPU-abcdef', 170]], 'the one before the first of ours')
  await caps.restore(signal)
  t.match(programs.asked.at(-1), '--power-limit=170')
  t.strictSame([...caps.found], [])
  programs.asked.splice(0)
  await caps.restore(signal)
  t.strictSame(programs.asked, [], 'nothing is left')
})

t.test('what is to be put back is written down before a limit is set', async (t) => {
  const { programs, run } = driver()
  const kept: unknown[] = []
  const keep = async (found: ReadonlyMap<string, number>) => {
    kept.push([...found, programs.asked.filter((line) => line.includes('power-limit=')).length])
  }
  const caps = new PowerCaps({ run, sys: '/nowhere', keep })
  await caps.capPower(nvidia, 120, signal)
  t.strictSame(kept, [[['GPU-abcdef', 170], 0]])
  await caps.restore(signal)
  t.strictSame(kept.at(-1), [2])
  const later = new PowerCaps({ run, sys: '/nowhere', keep })
  later.adopt(nvidia, 170)
  await later.capPower(nvidia, 120, signal)
  await later.restore(signal)
  t.match(programs.asked.at(-1), '--power-limit=170', 'and what a kill left is put back, too')
})

t.test('a driver that ends well and does nothing is found out', async (t) => {
  const { caps } = setUp({
    [LIMITS]: done('100, 212, 170\n'),
    [SET]: done('not supported in current scope\n'),
  })
  await t.rejects(caps.capPower(nvidia, 120, signal), { code: 'POWER_UNSUPPORTED' })
})

t.test('what a card does not take is refused before it is tried', async (t) => {
  const { programs, caps } = setUp({ [LIMITS]: done('100.00, 212.00, 170.00\n') })
  for (const watts of [99, 213, -1, 0, Number.NaN])
    await t.rejects(
      caps.capPower(nvidia, watts, signal),
      { code: 'POWER_RANGE', message: `RTX 3060 takes a limit of 100 to 212 W, not ${watts} W` },
      `${watts} W`,
    )
  for (const text of ['[N/A], [N/A], [N/A]\n', '0.00, 0.00, 0.00\n', '']) {
    programs.answers[LIMITS] = done(text)
    await t.rejects(caps.capPower(nvidia, 100, signal), { code: 'POWER_UNSUPPORTED' }, text)
  }
  const asleep = caps.rangeOf({ ...nvidia, isAsleep: true }, signal)
  await t.rejects(asleep, { code: 'POWER_UNSUPPORTED', retryable: true })
  const others = [{ ...nvidia, partOf: 'GPU-1' }, { ...nvidia, vendor: 'apple' } as const]
  for (const gpu of others)
    await t.rejects(caps.capPower(gpu, 100, signal), { code: 'POWER_UNSUPPORTED' }, gpu.vendor)
  t.strictSame([...caps.found], [])
})

t.test('a user who may not is told so', async (t) => {
  const { programs, caps } = setUp({
    [LIMITS]: done('100.00, 212.00, 170.00\n'),
    [SET]: failed('Changing power management limit for GPU: Insufficient Permissions.\n'),
  })
  await t.rejects(caps.capPower(nvidia, 120, signal), { code: 'POWER_DENIED' })
  t.strictSame([...caps.found], [], 'there is nothing to put back')
  programs.answers[SET] = failed('not supported')
  await t.rejects(caps.capPower(nvidia, 120, signal), { code: 'POWER_UNSUPPORTED' })
  programs.answers[SET] = { is: 'late' }
  await t.rejects(caps.capPower(nvidia, 120, signal), {
    code: 'POWER_UNSUPPORTED',
    retryable: true,
  })
})

t.test('what could not be put back is tried again', async (t) => {
  const smi = driver()
  let isRefused = false
  const run: Runner = async (...call) =>
    isRefused ? failed('Insufficient Permissions') : await smi.run(...call)
  const caps = new PowerCaps({ run, sys: '/nowhere' })
  await caps.capPower(nvidia, 120, signal)
  isRefused = true
  await t.rejects(caps.restore(signal), { code: 'POWER_DENIED' })
  await caps.restore(signal, 'another card')
  t.equal(caps.found.size, 1)
  isRefused = false
  await caps.restore(signal, nvidia.id)
  t.equal(caps.found.size, 0)
})

t.test('a file of an AMD card', async (t) => {
  const sys = treeOf(t, recorded('rx7900xtx.sys.txt'))
  const { caps } = setUp({}, sys)
  const file = join(sys, 'bus/pci/devices/0000:03:00.0/hwmon/hwmon3/power1_cap')
  t.strictSame(await caps.rangeOf(amd, signal), { min: 300, max: 389, now: 339 })
  await caps.capPower(amd, 310, signal)
  t.equal(await readFile(file, 'utf8'), '310000000')
  await caps.restore(signal)
  t.equal(await readFile(file, 'utf8'), '339000000')
  await chmod(file, 0o444)
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    await t.rejects(caps.capPower(amd, 310, signal), { code: 'POWER_DENIED' })
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
  await chmod(file, 0o644)
  await writeFile(file, 'nonsense')
  await t.rejects(caps.rangeOf(amd, signal), { code: 'POWER_UNSUPPORTED' })
})
