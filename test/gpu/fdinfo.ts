import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { DrmClients } from '../../src/gpu/fdinfo.ts'
import { busyShare, parseFdinfo } from '../../src/gpu/fdinfo-text.ts'
import { ManualClock } from '../support/clock.ts'
import { recorded, treeOf } from '../support/gpu/recorded.ts'

const { signal } = new AbortController()
const KIB = 1024
const amdgpu = recorded('fdinfo-amdgpu.txt')
const xe = recorded('fdinfo-xe.txt')

t.test('what each driver tells', async (t) => {
  t.strictSame(parseFdinfo(amdgpu), {
    ...{ id: '61', pci: '0000:03:00.0' },
    engines: new Map([
      ['gfx', { busy: 20_123_456_789, capacity: 1 }],
      ['compute', { busy: 0, capacity: 1 }],
      ['dec', { busy: 1_500_000, capacity: 2 }],
    ]),
    ...{ local: 400_000 * KIB, system: 71_128 * KIB },
  })
  t.strictSame(parseFdinfo(xe), {
    ...{ id: '3', pci: '0000:04:00.0' },
    engines: new Map([
      ['rcs', { busy: 28_257_900, capacity: 1, total: 7_655_183_225 }],
      ['ccs', { busy: 5_000_000, capacity: 4, total: 7_655_183_225 }],
    ]),
    ...{ local: 23_992 * KIB, system: 192 * KIB },
  })
  const i915 = parseFdinfo(recorded('fdinfo-i915.txt'))
  t.match(i915, { id: '39', system: 6_044 * KIB })
  t.notOk('local' in (i915 ?? {}), 'no memory of its own')
  t.equal(parseFdinfo('pos:\t0\nflags:\t02\n'), undefined, 'a file of something else')
  t.match(
    parseFdinfo(amdgpu.replace(/drm-resident-vram.*\n/, '')),
    { local: 412_320 * KIB },
    'older',
  )
})

t.test('the part of the time that an engine worked', async (t) => {
  const at = (busy: number, total?: number) => ({ busy, capacity: 1, ...(total ? { total } : {}) })
  t.equal(busyShare(at(0), at(25e8), 5_000), 0.5)
  t.equal(busyShare(at(7), at(7), 5_000), 0, 'nothing is 0')
  t.equal(busyShare(at(0, 100), at(30, 200), 5_000), 0.3, 'in cycles')
  t.equal(busyShare(at(1, 100), at(1, 100), 5_000), 0, 'a clock that stands still')
  t.equal(busyShare({ busy: 0, capacity: 2 }, { busy: 5e9, capacity: 2 }, 5_000), 0.5, 'one of two')
  t.equal(busyShare(at(0), at(9e9), 5_000), 1, 'at most all of it')
  t.equal(busyShare(at(9), at(0), 5_000), undefined, 'it began anew')
  t.equal(busyShare(undefined, at(9), 5_000), undefined)
})

t.test('no text makes it fail, or gives a number that is none', async () => {
  const parts = fc.constantFrom(
    'drm-client-id:\t1\n',
    'drm-pdev: 0000:00:02.0\n',
    'drm-engine-a: ',
    'drm-cycles-a: ',
    'drm-total-cycles-a: ',
    'drm-engine-capacity-a: 0\n',
    'drm-resident-vram: ',
    '-5',
    '9'.repeat(30),
    ' ns',
    ' KiB',
    '\n',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(parts, fc.string()), { maxLength: 30 }), (words) => {
      const client = parseFdinfo(words.join(''))
      const engines = [...(client?.engines.values() ?? [])]
      const numbers = [client?.local ?? 0, client?.system ?? 0, ...engines.map(({ busy }) => busy)]
      return numbers.every((number) => Number.isFinite(number) && number >= 0)
    }),
  )
})

function setUp(t: Test, more: Record<string, string> = {}) {
  const clock = new ManualClock()
  const proc = treeOf(t, '', {
    '100/comm': 'blender\n',
    '100/fd/0': '-> /dev/null',
    '100/fd/7': '-> /dev/dri/renderD128',
    '100/fd/8': '-> /dev/dri/renderD128',
    '100/fdinfo/7': amdgpu,
    '100/fdinfo/8': amdgpu,
    '101/comm': 'blender-child\n',
    '101/fd/7': '-> /dev/dri/renderD128',
    '101/fdinfo/7': amdgpu,
    '102/comm': 'bash\n',
    '102/fd/0': '-> /dev/pts/0',
    'self/fd/7': '-> /dev/dri/renderD128',
    ...more,
  })
  const clients = new DrmClients({ proc, clock })
  const worked = (path: string, text: string) => writeFile(join(proc, path), text)
  return { clock, proc, worked, scan: () => clients.scan(signal) }
}

t.test('a client is counted once, and has a load from the second look on', async (t) => {
  const { clock, proc, worked, scan } = setUp(t)
  const first = await scan()
  t.strictSame(first, {
    cards: new Map([
      [
        '0000:03:00.0',
        {
          processes: [
            {
              ...{ pid: 100, kind: 'graphics', name: 'blender' },
              ...{ memory: 400_000 * KIB, system: 71_128 * KIB },
            },
          ],
        },
      ],
    ]),
    isPartial: false,
  })
  await clock.advance(5_000)
  const later = amdgpu.replace('20123456789', '21373456789').replace('compute:\t0', 'compute:\t7')
  for (const path of ['100/fdinfo/7', '100/fdinfo/8', '101/fdinfo/7']) await worked(path, later)
  const { cards } = await scan()
  t.match(cards.get('0000:03:00.0'), { load: 0.25, processes: [{ load: 0.25, kind: 'both' }] })
  await clock.advance(50)
  t.match((await scan()).cards.get('0000:03:00.0'), { load: 0.25 }, 'too near: as before')
  await clock.advance(5_000)
  t.match((await scan()).cards.get('0000:03:00.0'), { load: 0 })
  await clock.advance(61_000)
  t.notOk('load' in ((await scan()).cards.get('0000:03:00.0') ?? {}), 'too long ago')
  t.ok(proc)
})

t.test('engines of several programs add up', async (t) => {
  const other = amdgpu.replace('client-id:\t61', 'client-id:\t62')
  const { clock, worked, scan } = setUp(t, {
    '200/comm': 'game\n',
    '200/fd/3': '-> /dev/dri/renderD128',
    '200/fdinfo/3': other,
  })
  await scan()
  await clock.advance(1_000)
  for (const path of ['100/fdinfo/7', '100/fdinfo/8', '101/fdinfo/7'])
    await worked(path, amdgpu.replace('20123456789', '20423456789'))
  await worked('200/fdinfo/3', other.replace('20123456789', '20623456789'))
  const card = (await scan()).cards.get('0000:03:00.0')
  t.match(card, { load: 0.8, processes: [{ load: 0.3 }, { load: 0.5 }] })
})

t.test('a program without a card is not looked at each time', async (t) => {
  const { clock, proc, worked, scan } = setUp(t, {
    '103/comm': 'late\n',
    '103/fd/1': '-> /dev/null',
  })
  for (let at = 0; at < 6; at++) {
    await scan()
    await clock.advance(at < 5 ? 30_000 : 0)
  }
  treeOf(t, '', {
    '103/comm': 'late\n',
    '103/fd/1': '-> /dev/dri/renderD128',
    '103/fdinfo/1': amdgpu,
  })
  await clock.advance(29_000)
  t.equal((await scan()).cards.size, 0)
  await clock.advance(1_000)
  t.match((await scan()).cards.get('0000:03:00.0'), { processes: [{ pid: 103 }] })
  t.ok(proc && worked)
})

t.test('what is not for this user is said', async (t) => {
  const { proc, scan } = setUp(t)
  await chmod(join(proc, '100/fd'), 0o700)
  t.match(await scan(), { isPartial: false })
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  else await chmod(join(proc, '100/fd'), 0)
  try {
    t.match(await scan(), { isPartial: true })
  } finally {
    if (isRoot) process.seteuid?.(0)
    await chmod(join(proc, '100/fd'), 0o700)
  }
})
