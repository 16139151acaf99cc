import t from 'tap'
import { tinyModelPath } from '../../src/config/root.ts'
import { kvBytesPerToken } from '../../src/models/fit-demand.ts'
import { readGgufHeads } from '../../src/models/gguf.ts'
import { type ModelShape, shapeOf } from '../../src/models/shape.ts'
import type { Meta } from '../support/gguf.ts'
import {
  DEEPSEEK_V2_LITE,
  GEMMA3_12B,
  GPT_OSS_20B,
  GRANITE4_MICRO,
  LLAMA_8B,
  MAMBA_130M,
  MISTRAL_7B,
  PHI4,
  QWEN3_8B,
  QWEN3_30B_A3B,
} from '../support/known-models.ts'
import { type Plan, shapeOfPlan as shape } from '../support/model-heads.ts'

const windowed = (one: ModelShape) =>
  one.layers.flatMap(({ isWindowed }, at) => (isWindowed ? [at] : []))
const withState = (one: ModelShape) =>
  one.layers.flatMap(({ stateBytes }, at) => (stateBytes > 0 ? [at] : []))
/** In units of a billion. */
const billions = ({ parameters }: ModelShape) => Number((parameters / 1e9).toFixed(2))

t.test('Llama 3.1 8B', async (t) => {
  const llama = shape(LLAMA_8B)
  t.match(llama, {
    architecture: 'llama',
    name: 'Llama 3.1 8B Instruct',
    quantisation: 'Q4_K_M',
    embedding: 4_096,
    feedForward: 14_336,
    heads: 32,
    kvHeads: 8,
    queryWidth: 4_096,
    contextTrained: 131_072,
    vocabulary: 128_256,
    isLatent: false,
    isEmbeddingOnly: false,
    hasChatTemplate: true,
    hasTools: true,
    stateWidth: 0,
  })
  t.equal(billions(llama), 8.03, 'as published')
  // 32 layers x 8 heads x 128 numbers, of keys and of values, 2 bytes each.
  t.equal(kvBytesPerToken(llama, 'f16'), 32 * 8 * 128 * 2 * 2)
  t.equal(kvBytesPerToken(llama, 'q8_0'), (32 * 8 * 128 * 2 * 34) / 32)
  t.strictSame(windowed(llama), [])
  const { weights } = llama
  t.equal(weights.embedding, (128_256 * 4_096 * 144) / 256)
  t.equal(weights.output, weights.embedding, 'its own, of the same size')
  t.equal(weights.isOutputTied, false)
  const layers = llama.layers.reduce((all, layer) => all + layer.weights, 0)
  t.equal(layers + weights.embedding + weights.output + weights.other, weights.total)
  t.equal(weights.active, weights.total - weights.embedding, 'of the table one row is read')
})

t.test('Mistral 7B: a window that is written is not used by the engine', async (t) => {
  const mistral = shape(MISTRAL_7B, { 'llama.attention.sliding_window': 4_096 })
  t.equal(mistral.slidingWindow, undefined)
  t.equal(kvBytesPerToken(mistral, 'f16'), 131_072)
  t.equal(billions(mistral), 7.25)
})

t.test('Qwen3 8B: heads longer than their share', async (t) => {
  const qwen = shape(QWEN3_8B)
  t.equal(kvBytesPerToken(qwen, 'f16'), 36 * 8 * 128 * 2 * 2)
  t.equal(billions(qwen), 8.19)
})

t.test('Qwen3 30B A3B: a token reads 8 of 128 experts', async (t) => {
  const qwen = shape(QWEN3_30B_A3B)
  t.strictSame(qwen.experts, { count: 128, used: 8, width: 768 })
  t.equal(kvBytesPerToken(qwen, 'f16'), 48 * 4 * 128 * 2 * 2)
  t.equal(qwen.queryWidth, 4_096)
  t.equal(qwen.feedForward, 0, 'no layer is without experts')
  t.equal(billions(qwen), 30.53)
  const experts = (48 * 128 * 3 * 2_048 * 768 * 144) / 256
  const { total, embedding, active } = qwen.weights
  t.equal(active, total - embedding - experts + experts / 16)
})

t.test('Gemma 3 12B: five of six layers see 1024 tokens', async (t) => {
  const gemma = shape(GEMMA3_12B)
  t.equal(gemma.slidingWindow, 1_024)
  const full = [5, 11, 17, 23, 29, 35, 41, 47]
  t.strictSame(
    windowed(gemma),
    Array.from({ length: 48 }, (_, at) => at).filter((at) => !full.includes(at)),
  )
  t.equal(kvBytesPerToken(gemma, 'f16'), 8 * 8 * 256 * 2 * 2, 'of the eight that see everything')
  t.equal(gemma.weights.isOutputTied, true)
  t.equal(gemma.weights.output, gemma.weights.embedding)
  t.equal(gemma.weights.active, gemma.weights.total, 'the table is read for the output')
  t.equal(billions(gemma), 11.77)
})

t.test('Phi-4: its window was withdrawn', async (t) => {
  const phi = shape(PHI4, { 'phi3.attention.sliding_window': 16_384 })
  t.equal(phi.slidingWindow, undefined)
  t.equal(kvBytesPerToken(phi, 'f16'), 40 * 10 * 128 * 2 * 2)
  t.equal(billions(phi), 14.66)
})

t.test('gpt-oss 20B: every other layer sees 128 tokens', async (t) => {
  const oss = shape(GPT_OSS_20B)
  t.equal(oss.quantisation, 'MXFP4_MOE')
  t.equal(oss.slidingWindow, 128)
  t.strictSame(windowed(oss), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22])
  t.equal(kvBytesPerToken(oss, 'f16'), 12 * 8 * 64 * 2 * 2)
  t.equal(billions(oss), 20.91)
})

t.test('DeepSeek V2 Lite: one vector of 512 + 64 numbers for all heads', async (t) => {
  const latent = shape(DEEPSEEK_V2_LITE)
  t.equal(latent.isLatent, true)
  t.equal(latent.feedForward, 10_944, 'of the first layer')
  t.equal(kvBytesPerToken(latent, 'f16'), 27 * (512 + 64) * 2)
  const old = shape(DEEPSEEK_V2_LITE, {
    'deepseek2.attention.head_count_kv': 16,
    'deepseek2.attention.key_length': 192,
    'deepseek2.attention.value_length': 128,
    'deepseek2.attention.key_length_mla': 0,
    'deepseek2.attention.value_length_mla': 0,
  })
  t.equal(kvBytesPerToken(old, 'f16'), 27 * 16 * (192 + 128) * 2, 'as older files have it')
})

t.test('models with a state instead of a memory of all tokens', async (t) => {
  const mamba = shape(MAMBA_130M)
  t.equal(kvBytesPerToken(mamba, 'f16'), 0)
  t.equal(withState(mamba).length, 24)
  t.equal(mamba.layers[0]?.stateBytes, (3 * 1_536 + 16 * 1_536) * 4)
  const granite = shape(GRANITE4_MICRO)
  t.equal(withState(granite).length, 36)
  t.equal(kvBytesPerToken(granite, 'f16'), 4 * 8 * 64 * 2 * 2)
  t.equal(granite.layers[0]?.stateBytes, (3 * (4_096 + 2 * 128) + 128 * 4_096) * 4)
  const other = (architecture: string, more: Meta) =>
    shape({
      ...LLAMA_8B,
      architecture,
      layers: 8,
      extras: { 'ssm.conv_kernel': 4, 'ssm.inner_size': 64, 'ssm.state_size': 16, ...more },
    })
  t.strictSame(withState(other('qwen3next', {})), [0, 1, 2, 4, 5, 6])
  t.strictSame(withState(other('qwen3next', { full_attention_interval: 2 })), [0, 2, 4, 6])
  const falcon = other('falcon-h1', {})
  t.equal(withState(falcon).length, 8, 'falcon-h1 has both in each layer')
  t.equal(kvBytesPerToken(falcon, 'f16'), 8 * 8 * 128 * 2 * 2)
  const heads = [0, 8, 0, 0, 8, 0, 0, 0]
  const bare = other('nemotron_h', {
    'attention.head_count_kv': heads,
    feed_forward_length: [0, 0, 64, 0, 0, 64, 0, 0],
  })
  t.strictSame(withState(bare), [0, 3, 6, 7], 'a layer that only computes has none')
  const lfm = other('lfm2', { 'shortconv.l_cache': 3, 'attention.head_count_kv': heads })
  t.equal(lfm.layers[0]?.stateBytes, 4_096 * 2 * 4)
})

t.test('windows by architecture', async (t) => {
  const of = (architecture: string, more: Meta, layers = 8) =>
    shape({ ...LLAMA_8B, architecture, layers, extras: more })
  const window = { 'attention.sliding_window': 512 }
  t.strictSame(windowed(of('gemma2', {})), [0, 2, 4, 6])
  t.equal(of('gemma2', {}).slidingWindow, 4_096, 'where the file does not say it')
  t.strictSame(windowed(of('cohere2', window)), [0, 1, 2, 4, 5, 6])
  t.strictSame(windowed(of('smallthinker', window)), [1, 2, 3, 5, 6, 7])
  t.strictSame(
    windowed(of('gemma3', { ...window, 'attention.sliding_window_pattern': 2 })),
    [0, 2, 4, 6],
  )
  t.strictSame(windowed(of('exaone4', window)), [], 'the small one has none')
  t.equal(windowed(of('exaone4', window, 64)).length, 48)
  const pattern = [1, 1, 1, 0, 1, 1, 1, 0]
  const gemma = of('gemma4', {
    ...window,
    'attention.sliding_window_pattern': pattern,
    'attention.key_length': 512,
    'attention.value_length': 512,
    'attention.key_length_swa': 256,
    'attention.value_length_swa': 256,
    'attention.shared_kv_layers': 2,
  })
  t.strictSame(windowed(gemma), [0, 1, 2, 4, 5])
  t.strictSame(
    gemma.layers.map(({ keyWidth }) => keyWidth),
    [2_048, 2_048, 2_048, 4_096, 2_048, 2_048, 0, 0],
    'the last two use the keys of others',
  )
  t.strictSame(windowed(of('gemma3', {})), [], 'the one without a window')
})

t.test('models that make vectors', async (t) => {
  const bert = shape({ ...LLAMA_8B, architecture: 'bert' }, { 'bert.pooling_type': 1 })
  t.equal(bert.isEmbeddingOnly, true)
  t.equal(kvBytesPerToken(bert, 'f16'), 0)
  const qwen = shape(QWEN3_8B, { 'qwen3.pooling_type': 3 })
  t.equal(qwen.isEmbeddingOnly, true)
  t.equal(kvBytesPerToken(qwen, 'f16'), 147_456)
})

t.test('layers that predict further tokens keep nothing', async (t) => {
  const glm = shape(LLAMA_8B, { 'llama.nextn_predict_layers': 1 })
  t.equal(kvBytesPerToken(glm, 'f16'), 31 * 8 * 128 * 2 * 2)
})

t.test('the tiny model, from its file', async (t) => {
  const tiny = shapeOf(await readGgufHeads(tinyModelPath(), new AbortController().signal))
  t.match(tiny, { architecture: 'llama', quantisation: 'Q8_0', vocabulary: 640, heads: 4 })
  t.equal(tiny.parameters, 885_888)
  t.equal(tiny.contextTrained, 256)
})

t.test('what is no language model is refused by name', async (t) => {
  const broken = (plan: Plan, more: Meta, message: RegExp) =>
    t.throws(() => shape(plan, more), { code: 'MODEL_LOAD', message })
  broken(LLAMA_8B, { 'llama.block_count': 0 }, /llama\.block_count is 0/)
  broken(LLAMA_8B, { 'llama.block_count': 1_000_000 }, /block_count is 1000000/)
  broken(LLAMA_8B, { 'general.architecture': 'clip' }, /clip\.block_count is missing/)
  broken({ ...LLAMA_8B, type: 77 }, {}, /kind 77/)
  for (const odd of [0.5, 'many', true])
    t.equal(
      kvBytesPerToken(shape(LLAMA_8B, { 'llama.attention.key_length': odd }), 'f16'),
      131_072,
      `a length of ${odd} is none`,
    )
  t.throws(() => shapeOf([]), { code: 'MODEL_LOAD' })
  t.throws(() => shapeOf([{ metadata: new Map(), tensors: [] }]), { message: /architecture/ })
})
