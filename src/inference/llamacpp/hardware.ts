/**
 * What of the machine an engine uses: binary, threads, layers on the GPU, and how much context fits.
 *
 * The owner's limits come first. What is `auto` is computed from the memory that is free once the weights are
 * loaded; a tenth of a card's and half of the machine's stays free. Tested by test/inference/llamacpp/hardware.ts.
 */
import { availableParallelism } from 'node:os'
import type { Llama, LlamaModel } from 'node-llama-cpp'
import { InferenceError } from '../errors.ts'
import type { Library } from './library.ts'
import type { LoadMessage } from './wire.ts'

export type HardwareOptions = Pick<
  LoadMessage,
  'gpu' | 'gpuLayers' | 'threadsMax' | 'vramMax' | 'contextSize' | 'slots'
> &
  Pick<LoadMessage, 'chunkTokens' | 'batchTokens'>

/** Threads that the CPU needs when all layers are on a GPU: they only hand over work. */
const THREADS_OFFLOADED = 2
/**
 * So much is taken: of a card's free memory, and of what the machine has beside the weights. The machine's own is
 * what its owner works with.
 */
const SHARE = { gpu: 0.9, cpu: 0.5 }
/** What `auto` tries for a context: first this or less, and more when there are slots enough. */
const CONTEXT_USUAL = 8_192
const CONTEXT_MAX = 32_768
const CONTEXT_LEAST = 512
const SLOTS_MAX = { cpu: 4, gpu: 8 }
/** Weights from this size on take seconds for a large piece of a prompt on a CPU. */
const SLOW_BYTES = 1024 ** 3
const SLOW_CHUNK = 32
const SLOW_BATCH = 128

/** @throws InferenceError ENGINE_MISSING */
export async function openLlama(library: Library, options: HardwareOptions): Promise<Llama> {
  const { getLlama, LlamaLogLevel } = library.llama
  try {
    const llama = await getLlama({
      gpu: options.gpu,
      build: 'never',
      skipDownload: true,
      logLevel: LlamaLogLevel.error,
      // A first, safe value: more threads than cores make llama.cpp wait for itself, 400 times slower.
      maxThreads: 1,
    })
    llama.maxThreads = threadsLimit(options, llama)
    if (options.vramMax !== undefined) await llama.setVramCap(options.vramMax)
    return llama
  } catch (error) {
    const kind = options.gpu === false ? 'cpu' : options.gpu
    const words = error instanceof Error ? error.message : String(error)
    throw new InferenceError(
      'ENGINE_MISSING',
      `no engine for ${kind} works here: ${words.slice(0, 500)}`,
      { cause: error },
    )
  }
}

/** One core is left to the rest of the machine; never more threads than this process may use. */
function threadsLimit(options: HardwareOptions, llama: Llama): number {
  const cores = Math.min(llama.cpuMathCores, availableParallelism())
  const usual = Math.max(1, cores - 1)
  return Math.min(options.threadsMax ?? usual, availableParallelism())
}

export function threadsFor(options: HardwareOptions, llama: Llama, model: LlamaModel): number {
  const limit = threadsLimit(options, llama)
  const offloaded = llama.gpu !== false && model.gpuLayers >= model.fileInsights.totalLayers
  return offloaded ? Math.min(THREADS_OFFLOADED, limit) : limit
}

/** Layers on the GPU: as told, or as many as fit beside the context. */
export function gpuLayers({ gpuLayers, contextSize, slots }: HardwareOptions, llama: Llama) {
  if (llama.gpu === false) return 0
  const each = contextSize === 'auto' ? CONTEXT_USUAL / 2 : contextSize
  const cells = each * (slots === 'auto' ? 1 : slots)
  return gpuLayers ?? { fitContext: { contextSize: cells } }
}

/** Tokens of a step. The same for all answers of an engine, so that a text does not depend on load. */
export function stepSizes(
  { chunkTokens, batchTokens }: HardwareOptions,
  { onCpu, weightBytes, slots }: { onCpu: boolean; weightBytes: number; slots: number },
): { chunkTokens: number; batchTokens: number } {
  const isSlow = onCpu && weightBytes >= SLOW_BYTES
  const chunk = isSlow ? Math.min(SLOW_CHUNK, chunkTokens) : chunkTokens
  const batch = isSlow ? Math.min(SLOW_BATCH, batchTokens) : batchTokens
  return { chunkTokens: chunk, batchTokens: Math.max(batch, chunk + slots) }
}

export interface Size {
  /** Tokens of each slot. */
  readonly contextSize: number
  readonly slots: number
}

export interface FitInput {
  readonly contextSize: number | 'auto'
  readonly slots: number | 'auto'
  /** Tokens that the model was trained for. */
  readonly trained: number
  readonly slotsMax: number
  /** Whether a context of this size has room beside the weights. */
  fits(size: Size): Promise<boolean>
}

/**
 * What is not set: a usual context, then as many slots as have room, then a larger context.
 * @throws InferenceError MODEL_LOAD: not even the least fits
 */
export async function fitted(input: FitInput): Promise<Size> {
  const { contextSize, slots, trained, fits } = input
  if (contextSize !== 'auto' && slots !== 'auto') return { contextSize, slots }
  const first = slots === 'auto' ? 1 : slots
  let best =
    contextSize === 'auto'
      ? await largest(halves(Math.min(CONTEXT_USUAL, trained)), (size) =>
          fits({ contextSize: size, slots: first }),
        )
      : contextSize
  if (best === undefined)
    throw new InferenceError(
      'MODEL_LOAD',
      `a context of ${Math.min(CONTEXT_LEAST, trained)} tokens for ${first} slots does not fit into the free memory`,
    )
  let count = first
  while (slots === 'auto' && count < input.slotsMax) {
    const more = Math.min(input.slotsMax, count * 2)
    if (!(await fits({ contextSize: best, slots: more }))) break
    count = more
  }
  const isFull = slots !== 'auto' || count === input.slotsMax
  if (contextSize === 'auto' && isFull) {
    const larger = halves(Math.min(CONTEXT_MAX, trained)).filter((size) => size > (best ?? 0))
    best = (await largest(larger, (size) => fits({ contextSize: size, slots: count }))) ?? best
  }
  return { contextSize: best, slots: count }
}

function halves(most: number): number[] {
  const out = [most]
  for (let size = most / 2; size >= CONTEXT_LEAST; size /= 2) out.push(Math.floor(size))
  return out
}

async function largest(
  sizes: readonly number[],
  fits: (size: number) => Promise<boolean>,
): Promise<number | undefined> {
  for (const size of sizes) if (await fits(size)) return size
  return undefined
}

/**
 * Bytes for contexts. The library refuses a context that would not leave its own padding free, or that goes beyond
 * the owner's cap, and tells neither with what is free.
 */
async function roomOn(
  onGpu: boolean,
  { vramMax = Number.POSITIVE_INFINITY }: HardwareOptions,
  llama: Llama,
  model: LlamaModel,
): Promise<number> {
  const { free } = await llama.getRamState()
  const memory = Math.min(free, process.availableMemory())
  // Weights that are mapped are not counted before they are read.
  if (!onGpu) return (memory - model.size) * SHARE.cpu
  const card = await llama.getVramState()
  const { gpuVram } = await llama.getLlamaMemoryUsage()
  const room = Math.min(card.free * SHARE.gpu, card.free - llama.vramPaddingSize, vramMax - gpuVram)
  // A Mac's card uses the memory that its owner works with.
  return card.unifiedSize > 0 ? Math.min(room, memory * SHARE.cpu) : room
}

/** Fits contexts into the memory that is free now that the weights are loaded. */
export async function fitModel(
  options: HardwareOptions,
  llama: Llama,
  model: LlamaModel,
): Promise<Size> {
  const onGpu = llama.gpu !== false && model.gpuLayers > 0
  const room = await roomOn(onGpu, options, llama, model)
  return await fitted({
    contextSize: options.contextSize,
    slots: options.slots,
    trained: model.trainContextSize,
    slotsMax: onGpu ? SLOTS_MAX.gpu : SLOTS_MAX.cpu,
    fits: async ({ contextSize, slots }) => {
      const needs = await model.fileInsights.estimateContextResourceRequirementsV2({
        contextSize,
        sequences: slots,
        modelGpuLayers: model.gpuLayers,
        batchSize: Math.max(options.batchTokens, options.chunkTokens + slots),
      })
      return (onGpu ? needs.gpuVram : needs.cpuRam) <= room
    },
  })
}
