import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  parsePmset,
  parseSupplies,
  parseWindowsBattery,
  readBattery,
  type Supply,
} from '../../src/gpu/battery.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const AC = (online: string): Supply => ({ type: 'Mains', online })
const BAT = (status: string): Supply => ({ type: 'Battery', status })
const MOUSE: Supply = { type: 'Battery', scope: 'Device', status: 'Discharging' }
const USB = (online: string): Supply => ({ type: 'USB', online })

t.test('Linux', async (t) => {
  const table: [string, Supply[], 'mains' | 'battery'][] = [
    ['a desktop', [], 'mains'],
    ['a desktop with a wireless mouse', [MOUSE], 'mains'],
    ['a laptop, plugged in', [AC('1'), BAT('Charging')], 'mains'],
    ['full', [AC('1'), BAT('Full')], 'mains'],
    ['not charging, by its own limit', [AC('1'), BAT('Not charging')], 'mains'],
    ['unplugged', [AC('0'), BAT('Discharging')], 'battery'],
    ['unplugged a moment ago', [AC('0'), BAT('Not charging')], 'battery'],
    ['on USB-C, with two sockets', [USB('0'), USB('1'), BAT('Charging')], 'mains'],
    ['fast charging', [USB('2'), BAT('Discharging')], 'mains'],
    ['a weak adapter', [AC('1'), BAT('Discharging')], 'mains'],
    ['two batteries', [BAT('Unknown'), BAT('Discharging')], 'battery'],
    ['no adapter is told', [BAT('Full')], 'mains'],
    ['an adapter that says nothing', [{ type: 'Mains' }, BAT('Discharging')], 'battery'],
    ['a mouse beside a laptop, plugged in', [AC('1'), BAT('Full'), MOUSE], 'mains'],
  ]
  for (const [what, supplies, power] of table) t.equal(parseSupplies(supplies), power, what)
})

t.test('reads the files', async (t) => {
  const root = t.testdir()
  const { signal } = new AbortController()
  const { run } = scriptedRun({})
  const read = () => readBattery({ run, platform: 'linux', root }, signal)
  t.equal(await read(), 'mains', 'no such folder')
  const put = async (name: string, files: Record<string, string>) => {
    const folder = join(root, 'sys/class/power_supply', name)
    await mkdir(folder, { recursive: true })
    for (const [file, text] of Object.entries(files))
      await writeFile(join(folder, file), `${text}\n`)
  }
  await put('AC', { type: 'Mains', online: '0' })
  await put('BAT0', { type: 'Battery', status: 'Discharging' })
  t.equal(await read(), 'battery')
  await put('AC', { type: 'Mains', online: '1' })
  t.equal(await read(), 'mains')
})

t.test('macOS', async (t) => {
  const text = (source: string) =>
    `Now drawing from '${source}'\n -InternalBattery-0 (id=21561443)\t100%; charged; 0:00 remaining present: true\n`
  t.equal(parsePmset(text('AC Power')), 'mains')
  t.equal(parsePmset(text('Battery Power')), 'battery')
  t.equal(parsePmset("Now drawing from 'UPS Power'\n"), 'mains')
  t.equal(parsePmset(''), undefined)
  const { signal } = new AbortController()
  const { run } = scriptedRun({ 'pmset -g batt': text('Battery Power') })
  t.equal(await readBattery({ run, platform: 'darwin' }, signal), 'battery')
  t.equal(await readBattery({ run: scriptedRun({}).run, platform: 'darwin' }, signal), undefined)
})

t.test('Windows', async (t) => {
  t.equal(parseWindowsBattery(''), 'mains', 'a desktop')
  t.equal(parseWindowsBattery('1\r\n'), 'battery')
  t.equal(parseWindowsBattery('2\r\n'), 'mains')
  t.equal(parseWindowsBattery('5\r\n1\r\n'), 'battery')
  t.equal(parseWindowsBattery('1\r\n6\r\n'), 'mains', 'one of two is charged')
  const { signal } = new AbortController()
  const { run, calls } = scriptedRun({ 'powershell.exe': '1\r\n' })
  t.equal(await readBattery({ run, platform: 'win32' }, signal), 'battery')
  t.match(calls[0], /Win32_Battery/)
})
