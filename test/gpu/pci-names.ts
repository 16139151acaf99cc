import { join } from 'node:path'
import t from 'tap'
import { nameIn, PciNames } from '../../src/gpu/pci-names.ts'
import { recorded } from '../support/gpu/recorded.ts'

const list = recorded('pci.ids.txt')

t.test('the name on the box', async (t) => {
  t.equal(nameIn(list, '1002', '744c'), 'Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M')
  t.equal(nameIn(list, '1002', '15bf'), 'Phoenix1')
  t.equal(nameIn(list, '8086', 'e20b'), 'Arc B580', 'of the last maker')
  for (const [vendor, device, why] of [
    ['1002', 'e20b', 'another maker has it'],
    ['1002', '1eae', 'a card in a card'],
    ['ffff', '744c', 'no such maker'],
    ['10de', '00  ', 'a class'],
  ] as const)
    t.equal(nameIn(list, vendor, device), undefined, why)
})

t.test('the first list that is there, read once for a name', async (t) => {
  const root = t.testdir({ list })
  const names = new PciNames([join(root, 'none'), join(root, 'list')])
  t.equal(await names.nameOf('8086', '4680'), 'UHD Graphics 770')
  t.testdir({ other: '' })
  t.equal(await names.nameOf('8086', '4680'), 'UHD Graphics 770', 'kept')
  t.equal(await names.nameOf('8086', 'e20b'), undefined, 'and no list is there now')
})
