import t from 'tap'
import {
  type FitInput,
  fitted,
  gpuLayers,
  type HardwareOptions,
  stepSizes,
} from '../../../src/inference/llamacpp/hardware.ts'
import { openTiny } from '../../support/opened-model.ts'
import { TINY_OPTIONS } from '../../support/tiny-model.ts'

/** @param cells so many tokens have room, all slots together */
const fit = (cells: number, more: Partial<FitInput> = {}) =>
  fitted({
    contextSize: 'auto',
    slots: 'auto',
    trained: 131_072,
    slotsMax: 8,
    fits: async ({ contextSize, slots }) => contextSize * slots <= cells,
    ...more,
  })

t.test('what is set is taken as it is', async (t) => {
  t.strictSame(await fit(0, { contextSize: 9000, slots: 3 }), { contextSize: 9000, slots: 3 })
})

t.test('a usual context first, then slots, then a larger context', async (t) => {
  const cases: [cells: number, contextSize: number, slots: number][] = [
    [512, 512, 1],
    [5_000, 4_096, 1],
    [8_192, 8_192, 1],
    [20_000, 8_192, 2],
    [65_536, 8_192, 8],
    [131_072, 16_384, 8],
    [10_000_000, 32_768, 8],
  ]
  for (const [cells, contextSize, slots] of cases)
    t.strictSame(await fit(cells), { contextSize, slots }, `${cells}`)
  t.strictSame(await fit(10_000_000, { trained: 2_048 }), { contextSize: 2_048, slots: 8 })
  t.strictSame(await fit(300, { trained: 256 }), { contextSize: 256, slots: 1 })
})

t.test('one of both may be set', async (t) => {
  t.strictSame(await fit(40_000, { slots: 4 }), { contextSize: 8_192, slots: 4 })
  t.strictSame(await fit(70_000, { slots: 4 }), { contextSize: 16_384, slots: 4 })
  t.strictSame(await fit(10_000, { contextSize: 3_000 }), { contextSize: 3_000, slots: 2 })
  t.strictSame(await fit(100, { contextSize: 3_000 }), { contextSize: 3_000, slots: 1 })
})

t.test('too little for the least', async (t) => {
  await t.rejects(fit(511), { code: 'MODEL_LOAD', message: /512 tokens for 1 slots/ })
})

t.test('large weights on a CPU read prompts in small pieces', async (t) => {
  const options = { ...TINY_OPTIONS, chunkTokens: 128, batchTokens: 512 }
  const small = { onCpu: true, weightBytes: 1e6, slots: 4 }
  t.strictSame(stepSizes(options, small), { chunkTokens: 128, batchTokens: 512 })
  const large = { ...small, weightBytes: 5e9 }
  t.strictSame(stepSizes(options, large), { chunkTokens: 32, batchTokens: 128 })
  t.strictSame(stepSizes(options, { ...large, onCpu: false }).chunkTokens, 128)
  t.strictSame(stepSizes(options, { ...large, slots: 200 }).batchTokens, 232)
})

t.test('layers on the GPU', async (t) => {
  const cuda = { gpu: 'cuda' } as never
  const layers = (more: Partial<HardwareOptions>) => gpuLayers({ ...TINY_OPTIONS, ...more }, cuda)
  t.equal(gpuLayers(TINY_OPTIONS, { gpu: false } as never), 0)
  t.equal(layers({ gpuLayers: 7 }), 7)
  t.strictSame(layers({ contextSize: 1000, slots: 3 }), { fitContext: { contextSize: 3000 } })
  t.strictSame(layers({ contextSize: 'auto', slots: 'auto' }), {
    fitContext: { contextSize: 4096 },
  })
})

t.test('the tiny model, fitted into this machine', async (t) => {
  const { model } = await openTiny(t, { contextSize: 'auto', slots: 'auto' })
  t.strictSame(
    { contextSize: model.facts.contextSize, slots: model.facts.slots },
    { contextSize: 256, slots: 4 },
    'what it was trained for, and as many slots as a CPU gets',
  )
})
