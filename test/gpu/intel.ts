import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { drmCards } from '../../src/gpu/drm.ts'
import { EnergyCounters, readIntel } from '../../src/gpu/intel.ts'
import { PciNames } from '../../src/gpu/pci-names.ts'
import { recorded, treeOf } from '../support/gpu/recorded.ts'

const ARC = 'bus/pci/devices/0000:04:00.0'

t.test('graphics in the processor and a card beside it', async (t) => {
  const sys = treeOf(t, recorded('arc.sys.txt'), { 'pci.ids': recorded('pci.ids.txt') })
  const deps = { sys, names: new PciNames([join(sys, 'pci.ids')]), watts: new EnergyCounters() }
  const read = async (now: number) =>
    await Promise.all(
      (await drmCards(sys)).map((card, index) => readIntel(card, index, { ...deps, now: ms(now) })),
    )
  const [inside, card] = await read(1_000)
  t.strictSame(inside, {
    ...{ id: '0000:00:02.0', vendor: 'intel', index: 0, name: 'UHD Graphics 770' },
    ...{ pci: '0000:00:02.0', isShared: true, isAsleep: false, driver: 'i915', hasDisplay: true },
  })
  t.strictSame(card, {
    ...{ id: '0000:04:00.0', vendor: 'intel', index: 1, name: 'Arc B580', pci: '0000:04:00.0' },
    ...{ isShared: false, isAsleep: false, driver: 'xe', memoryTotal: 12_884_901_888 },
    ...{ temperature: 43, powerLimit: 190, hasDisplay: false },
  })
  await writeFile(join(sys, ARC, 'hwmon/hwmon7/energy1_input'), '1600000000\n')
  t.equal((await read(6_000))[1]?.power, 20, '100 J in 5 s')
  await writeFile(join(sys, ARC, 'power/runtime_status'), 'suspended\n')
  t.match((await read(11_000))[1], { isAsleep: true, name: 'Arc B580', isShared: false })
})

t.test('watts out of a counter', async (t) => {
  const counters = new EnergyCounters()
  const watts = (joules: number, at: number) => counters.wattsOf('a', joules, ms(at))
  t.equal(watts(100, 0), undefined, 'the first look')
  t.equal(watts(100, 1_000), 0, 'nothing is 0')
  t.equal(watts(101, 1_050), undefined, 'too near')
  t.equal(watts(110, 2_000), 10, 'since the one before')
  t.equal(watts(5, 3_000), undefined, 'it began anew')
  t.equal(watts(15, 4_000), 10)
  t.equal(watts(99, 65_000), undefined, 'too long ago')
  t.equal(watts(1e9, 66_000), undefined, 'beyond all measure')
  t.equal(counters.wattsOf('b', 1, ms(66_000)), undefined, 'another card')
})
