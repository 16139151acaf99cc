import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readAmd } from '../../src/gpu/amd.ts'
import { drmCards } from '../../src/gpu/drm.ts'
import { kfdProcesses } from '../../src/gpu/kfd.ts'
import { PciNames } from '../../src/gpu/pci-names.ts'
import { recorded, treeOf } from '../support/gpu/recorded.ts'

const NAVI = 'bus/pci/devices/0000:03:00.0'

function setUp(t: Test, name: string, more: Record<string, string> = {}) {
  const sys = treeOf(t, recorded(name), { 'pci.ids': recorded('pci.ids.txt'), ...more })
  const names = new PciNames([join(sys, 'pci.ids')])
  return {
    sys,
    read: async (before?: Parameters<typeof readAmd>[3]) => {
      const [card] = await drmCards(sys)
      return card && (await readAmd(card, 0, { sys, names }, before))
    },
  }
}

t.test('a card with memory of its own', async (t) => {
  const { read, sys } = setUp(t, 'rx7900xtx.sys.txt')
  t.strictSame(await read(), {
    id: '0000:03:00.0',
    vendor: 'amd',
    index: 0,
    pci: '0000:03:00.0',
    isShared: false,
    isAsleep: false,
    name: 'Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M',
    driver: 'amdgpu',
    memoryTotal: 25_753_026_560,
    memoryUsed: 1_262_137_344,
    load: 0,
    temperature: 47,
    power: 23,
    powerLimit: 339,
    hasDisplay: true,
  })
  await writeFile(join(sys, NAVI, 'product_name'), 'AMD Radeon PRO W7900\n')
  t.match(await read(), { name: 'AMD Radeon PRO W7900' }, 'its own name, where it has one')
})

t.test('what a card or a kernel does not tell is absent', async (t) => {
  const { read, sys } = setUp(t, 'rx7900xtx.sys.txt')
  await writeFile(join(sys, NAVI, 'gpu_busy_percent'), '')
  await writeFile(join(sys, NAVI, 'mem_info_vram_used'), '-1\n')
  await rm(join(sys, NAVI, 'hwmon'), { recursive: true })
  const card = await read()
  for (const key of ['load', 'memoryUsed', 'temperature', 'power', 'powerLimit'])
    t.notOk(key in (card ?? {}), key)
  t.match(card, { isShared: false, memoryTotal: 25_753_026_560 })
})

t.test('graphics of a processor use the memory of the machine', async (t) => {
  const { read, sys } = setUp(t, 'ryzen-apu.sys.txt')
  const memory = { memoryTotal: 15_216_934_912, memoryUsed: 520_093_696 }
  t.match(await read(), { name: 'Phoenix1', isShared: true, load: 0.12, power: 9.104, ...memory })
  const carved = join(sys, 'bus/pci/devices/0000:c1:00.0/mem_info_vram_total')
  await writeFile(carved, `${96 * 1024 ** 3}\n`)
  t.match(await read(), { isShared: true }, 'however much is set aside')
  await writeFile(carved, '536870912\n')
  await rm(join(sys, 'bus/pci/devices/0000:c1:00.0/hwmon'), { recursive: true })
  t.match(await read(), { isShared: true, ...memory }, 'told by its memory alone')
})

t.test('of a card that sleeps nothing else is read', async (t) => {
  const { read, sys } = setUp(t, 'rx7900xtx.sys.txt')
  const before = await read()
  await writeFile(join(sys, NAVI, 'power/runtime_status'), 'suspended\n')
  await writeFile(join(sys, NAVI, 'product_name'), 'only the card knows\n')
  const id = '0000:03:00.0'
  t.strictSame(await read(), {
    ...{ id, vendor: 'amd', index: 0, pci: id, isShared: false, isAsleep: true },
    ...{ name: 'Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M', driver: 'amdgpu' },
  })
  const asleep = await read(before)
  t.match(asleep, { isAsleep: true, memoryTotal: 25_753_026_560, powerLimit: 339 }, 'as it was')
  t.notOk('load' in (asleep ?? {}))
})

t.test('cards in the order of their places, and folders that are none', async (t) => {
  const sys = treeOf(t, `${recorded('rx7900xtx.sys.txt')}\n${recorded('ryzen-apu.sys.txt')}`, {
    'class/drm/card7/device/uevent': 'DRIVER=vgem\n',
  })
  t.strictSame(
    (await drmCards(sys)).map(({ node, deviceId }) => [node, deviceId]),
    [
      ['card1', '744c'],
      ['card0', '15bf'],
    ],
  )
  t.strictSame(await drmCards(join(sys, 'nowhere')), [])
})

t.test('programs of all users that compute by ROCm', async (t) => {
  const kfd = 'sys/class/kfd/kfd'
  const root = treeOf(t, '', {
    [`${kfd}/topology/nodes/0/gpu_id`]: '0\n',
    [`${kfd}/topology/nodes/0/properties`]: 'cpu_cores_count 16\nlocation_id 0\ndomain 0\n',
    [`${kfd}/topology/nodes/1/gpu_id`]: '51250\n',
    [`${kfd}/topology/nodes/1/properties`]: 'simd_count 192\nlocation_id 768\ndomain 0\n',
    [`${kfd}/proc/4711/vram_51250`]: '8589934592\n',
    [`${kfd}/proc/4712/vram_51250`]: '0\n',
    'proc/4711/comm': 'python3\n',
  })
  t.strictSame(
    await kfdProcesses(join(root, 'sys'), join(root, 'proc')),
    new Map([
      ['0000:03:00.0', [{ pid: 4711, kind: 'compute', memory: 8 * 1024 ** 3, name: 'python3' }]],
    ]),
  )
  t.equal((await kfdProcesses(join(root, 'no'), join(root, 'proc'))).size, 0)
})
