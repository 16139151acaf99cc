import fc from 'fast-check'
import t from 'tap'
import {
  failureText,
  NVIDIA_FIELDS,
  parseApps,
  parseCards,
  parsePmon,
  parseSlices,
  refusedField,
  withSlices,
} from '../../src/gpu/nvidia.ts'
import { recorded } from '../support/gpu/recorded.ts'

const MIB = 1024 * 1024
const cards = (name: string, fields = NVIDIA_FIELDS) =>
  parseCards(recorded(`${name}.gpus.txt`), fields)
const OLD = NVIDIA_FIELDS.filter(
  (field) => field !== 'display_active' && field !== 'mig.mode.current',
)

t.test('a card of a desktop, whose load is 0 and not unknown', async (t) => {
  t.strictSame(cards('rtx3060-desktop'), [
    {
      id: 'GPU-4b1c5f6e-92d1-0d5f-7a3b-6f0c1a2b3c4d',
      vendor: 'nvidia',
      index: 0,
      name: 'NVIDIA GeForce RTX 3060',
      pci: '0000:01:00.0',
      driver: '550.144.03',
      memoryTotal: 12_288 * MIB,
      memoryUsed: 611 * MIB,
      load: 0,
      temperature: 41,
      power: 14.52,
      powerLimit: 170,
      hasDisplay: true,
      isShared: false,
      isAsleep: false,
      isSplit: false,
    },
  ])
})

t.test('several cards, in their order whatever that of the lines', async (t) => {
  const text = recorded('rtx4090-two.gpus.txt').trim().split('\n').reverse().join('\r\n')
  const two = parseCards(text, NVIDIA_FIELDS)
  t.strictSame(
    two.map(({ index, load, power, hasDisplay }) => [index, load, power, hasDisplay]),
    [
      [0, 0.97, 402.17, true],
      [1, 0, 9.8, false],
    ],
  )
})

t.test('what a card does not tell is absent', async (t) => {
  const [first, second] = cards('tesla-old', OLD)
  t.match(first, { load: 0, memoryUsed: 0, temperature: 28, pci: '0000:0b:00.0' })
  for (const key of ['power', 'powerLimit', 'hasDisplay']) t.notOk(key in (first ?? {}), key)
  t.match(second, { memoryUsed: 55 * MIB, driver: '390.157' })
  for (const key of ['load', 'temperature', 'power', 'powerLimit'])
    t.notOk(key in (second ?? {}), key)
})

t.test('a card that uses the memory of its machine', async (t) => {
  const [card] = cards('gb10')
  t.match(card, { isShared: true, pci: '000f:01:00.0', power: 4.41, load: 0 })
  t.notOk('memoryTotal' in (card ?? {}))
  const text = recorded('gb10.gpus.txt').replace('[N/A]', '8192')
  t.match(parseCards(text, NVIDIA_FIELDS), [{ isShared: false, memoryTotal: 8192 * MIB }])
})

t.test('names with commas, commas in numbers, and lines that are none', async (t) => {
  const fields = ['index', 'uuid', 'power.draw', 'name']
  const [card] = parseCards(
    'WARNING: infoROM is corrupted\n0, GPU-abcdef, 22,31, A, B, C\n',
    fields,
  )
  t.match(card, { name: 'A, B, C', power: 22.31 })
  t.strictSame(parseCards('No devices were found\n', fields), [])
  t.strictSame(parseCards('0, GPU-abcdef\n', fields), [], 'too few columns')
})

t.test('who uses a card', async (t) => {
  t.strictSame(parsePmon(recorded('rtx3060-desktop.pmon.txt')).get(0), [
    { pid: 1893, kind: 'graphics', name: 'Xorg', memory: 246 * MIB },
    { pid: 2104, kind: 'graphics', name: 'gnome-shell', memory: 118 * MIB, load: 0.03 },
    { pid: 4410, kind: 'graphics', name: 'firefox', memory: 201 * MIB, load: 0.01 },
  ])
  const two = parsePmon(recorded('rtx4090-two.pmon.txt'))
  t.strictSame(
    two.get(0)?.map(({ kind }) => kind),
    ['graphics', 'compute', 'both'],
  )
  t.strictSame(two.get(1), [], 'nobody')
  t.equal(two.get(2), undefined, 'not looked at')
  t.strictSame(
    parsePmon(recorded('tesla-old.pmon.txt')).get(1),
    [{ pid: 14_533, kind: 'compute', name: 'python', load: 0.45 }],
    'the columns of an older version',
  )
  t.strictSame(parsePmon('0 1 C 50 50 - -').size, 0, 'no head, no meaning')
})

t.test('programs that compute', async (t) => {
  const uuid = 'GPU-5e6f7a8b-9c0d-1e2f-3a4b-5c6d7e8f9a0b'
  t.strictSame(parseApps(recorded('windows-wddm.apps.txt')), [
    { uuid, pid: 1432, kind: 'compute' },
    { uuid, pid: 7712, kind: 'compute', name: 'explorer.exe' },
    { uuid, pid: 9120, kind: 'compute', name: 'Discord.exe' },
  ])
  t.match(parseApps(recorded('a100-mig-old.apps.txt')), [{ pid: 8123, name: 'run' }])
  t.strictSame(parseApps('No running processes found\n'), [])
})

t.test('a card that is split is its slices', async (t) => {
  const slices = parseSlices(recorded('h100-mig.list.txt'))
  const gpus = withSlices(cards('h100-mig'), slices)
  t.match(gpus, [
    { name: 'NVIDIA H100 80GB HBM3 MIG 3g.40gb', memoryTotal: 40e9, index: 0, temperature: 36 },
    { name: 'NVIDIA H100 80GB HBM3 MIG 1g.10gb+me', memoryTotal: 10e9, index: 0 },
    { name: 'NVIDIA H100 80GB HBM3', index: 1, power: 69.1, load: 0 },
  ])
  t.equal(gpus[0]?.partOf, 'GPU-1f6e2a90-5c3e-7b1d-2f4a-9e8d7c6b5a49')
  for (const key of ['power', 'memoryUsed', 'load', 'isSplit'])
    t.notOk(key in (gpus[0] ?? {}), `${key} is of the whole card`)
  const old = withSlices(cards('a100-mig-old'), parseSlices(recorded('a100-mig-old.list.txt')))
  t.strictSame(
    old.map(({ id }) => id),
    ['3', '5'].map((at) => `MIG-GPU-77aa0c1e-0001-4b8a-b7d4-1234567890ab/${at}/0`),
  )
})

t.test('what fails is said in words', async (t) => {
  t.match(failureText(recorded('driver-failed.txt')), /driver does not run/)
  t.match(failureText(recorded('driver-mismatch.txt')), /restart the machine/)
  t.match(failureText('No devices were found'), /finds no card/)
  t.match(failureText('\n  odd\nmore'), /^nvidia-smi fails: odd$/)
  t.match(failureText(''), /says nothing/)
  t.equal(
    refusedField('Field "mig.mode.current" is not a valid field to query.\n'),
    'mig.mode.current',
  )
  t.equal(refusedField('anything else'), undefined)
})

/** Words that drivers use, in any order, beside any text. */
const cells = fc.oneof(
  fc.constantFrom(
    '[N/A]',
    '[Not Supported]',
    'N/A',
    '-',
    '',
    '0',
    '-1',
    '1e999',
    'NaN',
    'Infinity',
  ),
  fc.constantFrom(
    'GPU-abcdef',
    '00000000:01:00.0',
    '99999999999999999999',
    '12.5',
    'C',
    'C+G',
    '#',
  ),
  fc.string({ unit: 'binary', maxLength: 12 }),
)
const tables = fc
  .array(fc.array(cells, { maxLength: 15 }))
  .chain((rows) =>
    fc.constantFrom(', ', ' ', '   ').map((by) => rows.map((row) => row.join(by)).join('\n')),
  )

function numbersIn(value: unknown): number[] {
  if (typeof value === 'number') return [value]
  if (value instanceof Map) return numbersIn([...value])
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(numbersIn)
}

t.test('no text makes a reader fail, or gives a number that is none', async () => {
  const head = '# gpu pid type sm mem enc dec fb command\n'
  const rows = fc.record({
    uuid: fc.constant('GPU-abcdef'),
    rest: fc.array(cells, { minLength: 11, maxLength: 14 }),
  })
  const real = rows.map(({ uuid, rest }) => ['0', uuid, ...rest].join(', '))
  fc.assert(
    fc.property(fc.oneof(fc.string(), tables, real), (text) => {
      const read = [
        parseCards(text, NVIDIA_FIELDS),
        parseApps(text),
        parsePmon(head + text),
        withSlices(parseCards(text, NVIDIA_FIELDS), parseSlices(text)),
      ]
      failureText(text)
      return numbersIn(read).every((number) => Number.isFinite(number) && number >= 0)
    }),
    { numRuns: 500 },
  )
})
