/** Published settings of models that everyone knows, in the form of their GGUF files. */
import { attention, feedForward, type Plan } from './model-heads.ts'

const Q4_K = 12
const Q8_0 = 8
const MXFP4 = 39

export const LLAMA_8B: Plan = {
  architecture: 'llama',
  name: 'Llama 3.1 8B Instruct',
  layers: 32,
  embedding: 4_096,
  feedForward: 14_336,
  heads: 32,
  kvHeads: 8,
  vocabulary: 128_256,
  context: 131_072,
  type: Q4_K,
  fileType: 15,
  extras: { 'rope.dimension_count': 128 },
}

export const MISTRAL_7B: Plan = {
  ...LLAMA_8B,
  name: 'Mistral 7B Instruct v0.3',
  vocabulary: 32_768,
  context: 32_768,
}

export const QWEN3_8B: Plan = {
  architecture: 'qwen3',
  name: 'Qwen3 8B',
  layers: 36,
  embedding: 4_096,
  feedForward: 12_288,
  heads: 32,
  kvHeads: 8,
  headLength: 128,
  vocabulary: 151_936,
  context: 40_960,
  type: Q4_K,
  fileType: 15,
  norms: ['attn_q_norm.weight', 'attn_k_norm.weight'],
}

export const QWEN3_30B_A3B: Plan = {
  ...QWEN3_8B,
  architecture: 'qwen3moe',
  name: 'Qwen3 30B A3B',
  layers: 48,
  embedding: 2_048,
  feedForward: 6_144,
  kvHeads: 4,
  experts: { count: 128, used: 8, width: 768 },
}

export const GEMMA3_12B: Plan = {
  architecture: 'gemma3',
  name: 'Gemma 3 12B It',
  layers: 48,
  embedding: 3_840,
  feedForward: 15_360,
  heads: 16,
  kvHeads: 8,
  headLength: 256,
  vocabulary: 262_208,
  context: 131_072,
  type: Q4_K,
  fileType: 15,
  isTied: true,
  extras: { 'attention.sliding_window': 1_024 },
  norms: [
    'attn_q_norm.weight',
    'attn_k_norm.weight',
    'post_attention_norm.weight',
    'post_ffw_norm.weight',
  ],
}

export const PHI4: Plan = {
  architecture: 'phi3',
  name: 'Phi 4',
  layers: 40,
  embedding: 5_120,
  feedForward: 17_920,
  heads: 40,
  kvHeads: 10,
  vocabulary: 100_352,
  context: 16_384,
  type: Q4_K,
  fileType: 15,
  extras: { 'rope.dimension_count': 128, 'rope.scaling.original_context_length': 16_384 },
  parts: ({ embedding, feedForward: hidden }) => [
    ['attn_qkv.weight', embedding, embedding + 2 * 10 * 128],
    ['attn_output.weight', embedding, embedding],
    ['ffn_norm.weight', embedding],
    ['ffn_up.weight', embedding, 2 * hidden],
    ['ffn_down.weight', hidden, embedding],
  ],
}

export const GPT_OSS_20B: Plan = {
  architecture: 'gpt-oss',
  name: 'Gpt Oss 20b',
  layers: 24,
  embedding: 2_880,
  feedForward: 2_880,
  heads: 64,
  kvHeads: 8,
  headLength: 64,
  vocabulary: 201_088,
  context: 131_072,
  type: Q8_0,
  expertType: MXFP4,
  fileType: 38,
  experts: { count: 32, used: 4, width: 2_880 },
  extras: { 'attention.sliding_window': 128, 'rope.dimension_count': 64 },
  parts: (plan, layer) => [
    ...attention(plan, layer),
    ['attn_q.bias', 4_096],
    ['attn_k.bias', 512],
    ['attn_v.bias', 512],
    ['attn_output.bias', 2_880],
    ['attn_sinks.weight', 64],
    ['post_attention_norm.weight', 2_880],
    ...feedForward(plan, layer),
    ['ffn_gate_inp.bias', 32],
    ['ffn_gate_exps.bias', 2_880, 32],
    ['ffn_up_exps.bias', 2_880, 32],
    ['ffn_down_exps.bias', 2_880, 32],
  ],
}

export const DEEPSEEK_V2_LITE: Plan = {
  architecture: 'deepseek2',
  name: 'DeepSeek V2 Lite Chat',
  layers: 27,
  embedding: 2_048,
  feedForward: 10_944,
  heads: 16,
  kvHeads: 1,
  vocabulary: 102_400,
  context: 163_840,
  type: Q8_0,
  fileType: 7,
  experts: { count: 64, used: 6, width: 1_408, shared: 2, denseFirst: 1 },
  extras: {
    'attention.kv_lora_rank': 512,
    'attention.key_length': 576,
    'attention.value_length': 512,
    'attention.key_length_mla': 192,
    'attention.value_length_mla': 128,
    'rope.dimension_count': 64,
    expert_weights_scale: 1.001,
  },
  parts: (plan, layer) => [
    ['attn_kv_a_norm.weight', 512],
    ['attn_q.weight', 2_048, 16 * 192],
    ['attn_kv_a_mqa.weight', 2_048, 576],
    ['attn_k_b.weight', 128, 512, 16],
    ['attn_v_b.weight', 512, 128, 16],
    ['attn_output.weight', 16 * 128, 2_048],
    ['ffn_norm.weight', 2_048],
    ...feedForward(plan, layer),
  ],
}

export const MAMBA_130M: Plan = {
  architecture: 'mamba',
  name: 'Mamba 130m Hf',
  layers: 24,
  embedding: 768,
  feedForward: 0,
  heads: 0,
  kvHeads: 0,
  vocabulary: 50_280,
  context: 1_048_576,
  type: 1,
  fileType: 1,
  isTied: true,
  extras: {
    'ssm.conv_kernel': 4,
    'ssm.inner_size': 1_536,
    'ssm.state_size': 16,
    'ssm.time_step_rank': 48,
  },
  parts: () => [
    ['ssm_in.weight', 768, 3_072],
    ['ssm_conv1d.weight', 4, 1_536],
    ['ssm_conv1d.bias', 1_536],
    ['ssm_x.weight', 1_536, 80],
    ['ssm_dt.weight', 48, 1_536],
    ['ssm_dt.bias', 1_536],
    ['ssm_a', 16, 1_536],
    ['ssm_d', 1_536],
    ['ssm_out.weight', 1_536, 768],
  ],
}

/** Layers of attention among layers with a state, by the published list. */
const GRANITE_ATTENTION = [5, 15, 25, 35]

export const GRANITE4_MICRO: Plan = {
  architecture: 'granitehybrid',
  name: 'Granite 4.0 H Micro',
  layers: 40,
  embedding: 2_048,
  feedForward: 8_192,
  heads: 32,
  kvHeads: Array.from({ length: 40 }, (_, at) => (GRANITE_ATTENTION.includes(at) ? 8 : 0)),
  vocabulary: 100_352,
  context: 131_072,
  type: Q8_0,
  fileType: 7,
  isTied: true,
  extras: {
    'ssm.conv_kernel': 4,
    'ssm.inner_size': 4_096,
    'ssm.state_size': 128,
    'ssm.time_step_rank': 64,
    'ssm.group_count': 1,
    'rope.dimension_count': 64,
    'rope.scaling.finetuned': true,
  },
  parts: (plan, layer) => [
    ...(GRANITE_ATTENTION.includes(layer)
      ? attention(plan, layer)
      : ([
          ['ssm_in.weight', 2_048, 2 * 4_096 + 2 * 128 + 64],
          ['ssm_conv1d.weight', 4, 4_096 + 256],
          ['ssm_conv1d.bias', 4_096 + 256],
          ['ssm_dt.bias', 64],
          ['ssm_a', 1, 64],
          ['ssm_d', 1, 64],
          ['ssm_norm.weight', 4_096, 1],
          ['ssm_out.weight', 4_096, 2_048],
        ] as const)),
    ['ffn_norm.weight', 2_048],
    ...feedForward(plan, layer),
  ],
}

export const KNOWN: readonly Plan[] = [
  LLAMA_8B,
  MISTRAL_7B,
  QWEN3_8B,
  QWEN3_30B_A3B,
  GEMMA3_12B,
  PHI4,
  GPT_OSS_20B,
  DEEPSEEK_V2_LITE,
  MAMBA_130M,
  GRANITE4_MICRO,
]
