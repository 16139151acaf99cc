/**
 * What a backend of the built-in engine is told, what of it reaches the engine, and what identifies it.
 *
 * Tested by test/inference/llamacpp/host.ts.
 */
import { hex, sha256, utf8 } from '../../base/bytes.ts'
import { type Ms, ms } from '../../base/units.ts'
import { CHILD_DEFAULTS, type ChildOptions } from './child.ts'
import { SAMPLING_DEFAULTS, type SamplingDefaults } from './sampling.ts'
import { STEP_DEFAULTS } from './steps.ts'
import type { TemplateArguments } from './template.ts'
import type { LoadMessage, ReadyMessage } from './wire.ts'

export interface LlamaCppOptions extends ChildOptions {
  /** The name under which it is served. */
  readonly model: string
  readonly modelPath: string
  /** Of the weights, in hex; absent: their size stands for them in the fingerprint. */
  readonly modelSha256?: string
  /**
   * Tokens for each slot: memory is taken for `contextSize` times `slots`. `auto`: what fits beside the
   * weights.
   */
  readonly contextSize: number | 'auto'
  readonly slots: number | 'auto'
  readonly gpu: LoadMessage['gpu']
  /** Bytes of graphics memory that the engine may take; absent: what is free. */
  readonly vramMax?: number
  readonly gpuLayers?: number
  readonly threadsMax?: number
  /** 0 to 19: how far the engine stands back for the owner's programs when the CPU is short. */
  readonly niceness: number
  /** Where a request says nothing; as the model's card recommends. */
  readonly defaults: SamplingDefaults
  /** Thoughts of an answer whose request bounds them not itself; absent: no bound. */
  readonly thinkingTokensMax?: number
  /** Greedy answers are decoded alone, where neighbours would change them. */
  readonly exclusive: boolean
  readonly chatTemplate?: string
  readonly templateArguments?: TemplateArguments
  /** URL of node-llama-cpp's entry file (install.ts); absent: the one beside this package. */
  readonly library?: string
  /** Where the running engine is written down; one file for each backend. */
  readonly recordFile: string
  /** Requests that wait for a slot; one more is BUSY. */
  readonly queueMax: number
  readonly chunkTokens: number
  readonly batchTokens: number
  readonly restartDelayFirst: Ms
  readonly restartDelayMax: Ms
  /** An engine that lived so long begins again with the first delay. */
  readonly steadyAfter: Ms
  /** Requests wait so long for an engine that is gone; after it they are refused until it is back. */
  readonly outageMax: Ms
}

export const LLAMACPP_DEFAULTS = {
  ...CHILD_DEFAULTS,
  slots: 4,
  gpu: 'auto',
  niceness: 5,
  defaults: SAMPLING_DEFAULTS,
  exclusive: false,
  queueMax: 64,
  chunkTokens: STEP_DEFAULTS.chunkTokens,
  batchTokens: STEP_DEFAULTS.batchTokens,
  restartDelayFirst: ms(200),
  restartDelayMax: ms(60_000),
  steadyAfter: ms(120_000),
  outageMax: ms(15_000),
} satisfies Partial<LlamaCppOptions>

/** What of it the engine is told. */
export function loadMessage(options: LlamaCppOptions): LoadMessage {
  const { library, gpuLayers, vramMax, threadsMax, chatTemplate, templateArguments } = options
  return {
    type: 'load',
    modelPath: options.modelPath,
    contextSize: options.contextSize,
    slots: options.slots,
    chunkTokens: options.chunkTokens,
    batchTokens: options.batchTokens,
    gpu: options.gpu,
    niceness: options.niceness,
    ...(library === undefined ? {} : { library }),
    ...(gpuLayers === undefined ? {} : { gpuLayers }),
    ...(vramMax === undefined ? {} : { vramMax }),
    ...(threadsMax === undefined ? {} : { threadsMax }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    ...(templateArguments === undefined ? {} : { templateArguments }),
  }
}

/**
 * Everything that the text of a greedy answer depends on, in short.
 * @param weights the sha256 of the weights, or their size
 */
export function fingerprint(
  ready: ReadyMessage,
  weights: string,
  options: LlamaCppOptions,
): string {
  const { engine, device, contextSize } = ready
  const { chatTemplate, templateArguments } = options
  const all = [engine, device, weights, contextSize, chatTemplate ?? '', templateArguments ?? {}]
  return `fp_${hex(sha256(utf8(JSON.stringify(all)))).slice(0, 12)}`
}
