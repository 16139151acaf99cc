import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import type { CardFacts } from '../../src/gpu/facts.ts'
import type { ForeignUse, GpuSample } from '../../src/gpu/sample.ts'
import type { Verdict } from '../../src/gpu/verdict.ts'
import { bytesNeeded } from '../../src/node/needs.ts'
import { type Lodger, MACHINE, Places, type PlacesDeps } from '../../src/node/places.ts'
import { never } from '../contract/backend-asks.ts'

const GIB = 1024 ** 3

function card(id: string, over: Partial<GpuSample> = {}, foreign: Partial<ForeignUse> = {}) {
  const sample: GpuSample = {
    ...{ id, vendor: 'nvidia', index: 0, name: id, isShared: false, isAsleep: false },
    memoryTotal: 20 * GIB,
    ...over,
  }
  return { sample, foreign: { programs: [], ...foreign }, at: ms(0) } satisfies CardFacts
}

const lodger = (key: string, gib: number, over: Partial<Lodger> = {}): Lodger => ({
  key,
  backend: { gpu: 'auto', gpus: 'auto', vramMax: undefined },
  priority: 0,
  bytes: gib * GIB,
  ...over,
})

function setUp(
  cards: readonly CardFacts[],
  lodgers: readonly Lodger[],
  over: Partial<PlacesDeps> & { memoryMax?: number } = {},
) {
  const { memoryMax, ...deps } = over
  const places = new Places(
    { cards: () => cards, kinds: ['cuda', 'cpu'], visible: undefined, memory: 8 * GIB, ...deps },
    lodgers,
    memoryMax,
  )
  places.settle(undefined)
  return places
}

const yielding = (...ids: string[]): Verdict => ({
  machine: [],
  gpus: new Map(ids.map((id) => [id, [{ name: 'gpu-load', text: 'a game' }]])),
  since: ms(0),
})

const TWO = [card('GPU-a', { index: 0 }), card('GPU-b', { index: 1 })]

t.test(
  'a machine without cards, or without an engine for them, computes on the processor',
  async (t) => {
    const none = setUp([], [lodger('x', 4)])
    t.strictSame(none.cardsOf('x'), [])
    t.strictSame(none.needOf('x'), { shares: [{ place: MACHINE, bytes: 4 * GIB }], priority: 0 })
    t.equal(none.budgetOf(MACHINE), 8 * GIB)
    t.strictSame(none.environmentOf('x'), {})
    t.strictSame(setUp(TWO, [lodger('x', 4)], { kinds: ['cpu'] }).cardsOf('x'), [])
    const off = lodger('x', 4, { backend: { gpu: 'off', gpus: 'auto', vramMax: undefined } })
    t.strictSame(setUp(TWO, [off]).cardsOf('x'), [])
    const amd = [card('0000:01:00.0', { vendor: 'amd' })]
    t.strictSame(setUp(amd, [lodger('x', 4)]).cardsOf('x'), [], 'CUDA does not compute there')
    t.strictSame(setUp(amd, [lodger('x', 4)], { kinds: ['vulkan'] }).cardsOf('x'), ['0000:01:00.0'])
  },
)

t.test('with one card everything is the engine’s own choice', async (t) => {
  const places = setUp([card('GPU-a')], [lodger('x', 4)])
  t.strictSame(places.cardsOf('x'), ['GPU-a'])
  t.strictSame(places.environmentOf('x'), {})
  t.equal(places.vramMaxOf('x'), undefined)
  t.equal(places.budgetOf('GPU-a'), 18 * GIB, 'a tenth stays free')
})

t.test('several cards and models', async (t) => {
  const places = setUp(TWO, [lodger('x', 10), lodger('y', 12)])
  t.strictSame([places.cardsOf('y'), places.cardsOf('x')], [['GPU-a'], ['GPU-b']])
  t.match(places.environmentOf('x'), {
    CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
    CUDA_VISIBLE_DEVICES: 'GPU-b',
    GGML_VK_VISIBLE_DEVICES: '1',
  })
  const large = setUp(TWO, [lodger('x', 30)])
  t.strictSame(large.cardsOf('x'), ['GPU-a', 'GPU-b'])
  t.strictSame(large.needOf('x').shares, [
    { place: 'GPU-a', bytes: 15 * GIB },
    { place: 'GPU-b', bytes: 15 * GIB },
  ])
  t.equal(large.environmentOf('x')['CUDA_VISIBLE_DEVICES'], 'GPU-a,GPU-b')
})

t.test('models of one card leave each other their room, where all have some', async (t) => {
  const places = setUp([card('GPU-a')], [lodger('x', 10), lodger('y', 5)])
  t.equal(places.vramMaxOf('x'), 13 * GIB)
  t.equal(places.vramMaxOf('y'), 8 * GIB)
  const turns = setUp([card('GPU-a')], [lodger('x', 10), lodger('y', 9)])
  t.equal(turns.vramMaxOf('x'), undefined, 'these take turns, each with the whole card')
  t.equal(setUp([card('GPU-a')], [lodger('x', 4)], { memoryMax: 6 * GIB }).vramMaxOf('x'), 6 * GIB)
  const own = lodger('x', 4, { backend: { gpu: 'auto', gpus: 'auto', vramMax: 5 * GIB } })
  t.equal(setUp([card('GPU-a')], [own]).vramMaxOf('x'), 5 * GIB, 'what the owner wrote goes first')
})

t.test('others’ memory, and the owner’s own limits', async (t) => {
  const used = setUp([card('GPU-a', {}, { memory: 6 * GIB })], [lodger('x', 4)])
  t.equal(used.budgetOf('GPU-a'), 12 * GIB)
  t.equal(setUp(TWO, [], { memoryMax: 3 * GIB }).budgetOf('GPU-a'), 3 * GIB)
  t.equal(setUp([card('GPU-a', { isShared: true })], []).budgetOf('GPU-a'), 12 * GIB)
  t.equal(setUp(TWO, []).budgetOf('who'), Number.POSITIVE_INFINITY)
  const shown = setUp(TWO, [lodger('x', 4)], { visible: '1' })
  t.strictSame(shown.cardsOf('x'), ['GPU-b'], 'as all programs see them')
  t.strictSame(setUp(TWO, [lodger('x', 4)], { visible: 'GPU-b' }).cardsOf('x'), ['GPU-b'])
  t.strictSame(setUp(TWO, [lodger('x', 4)], { visible: '' }).cardsOf('x'), [])
  const chosen = lodger('x', 4, { backend: { gpu: 'auto', gpus: ['GPU-b'], vramMax: undefined } })
  t.strictSame(setUp(TWO, [chosen]).cardsOf('x'), ['GPU-b'])
})

t.test('a model moves to another card when the owner needs its own', async (t) => {
  const places = setUp(TWO, [lodger('x', 10), lodger('y', 5)])
  t.strictSame([places.cardsOf('x'), places.cardsOf('y')], [['GPU-a'], ['GPU-a']])
  t.equal(places.move('x', yielding('GPU-a')), true)
  t.strictSame(places.cardsOf('x'), ['GPU-b'])
  t.strictSame(places.cardsOf('y'), ['GPU-a'], 'alone')
  t.equal(places.move('x', yielding('GPU-a', 'GPU-b')), false, 'none is free')
  t.equal(places.move('y', { ...yielding('GPU-a'), machine: [{ name: 'input', text: '' }] }), false)
  const full = setUp(TWO, [lodger('x', 12), lodger('y', 12)])
  t.equal(full.move('x', yielding('GPU-a')), false, 'the other card is full')
  const pinned = lodger('x', 4, { backend: { gpu: 'auto', gpus: [0], vramMax: undefined } })
  t.equal(setUp(TWO, [pinned]).move('x', yielding('GPU-a')), false)
})

t.test('the need of a model is read from its head', async (t) => {
  const small = await bytesNeeded(tinyModelPath(), { contextSize: 256, slots: 1 }, never())
  const large = await bytesNeeded(tinyModelPath(), { contextSize: 4_096, slots: 8 }, never())
  t.ok(small > 900_000 && small < 20_000_000, `${small}`)
  t.ok(large > small)
  t.ok((await bytesNeeded(tinyModelPath(), { contextSize: 'auto', slots: 'auto' }, never())) > 0)
  t.equal(await bytesNeeded('/nowhere.gguf', { contextSize: 256, slots: 1 }, never()), 0)
  const path = join(t.testdir(), 'cut.gguf')
  await writeFile(path, 'GGUF')
  await truncate(path, 1_000)
  t.equal(await bytesNeeded(path, { contextSize: 256, slots: 1 }, never()), 0)
})
