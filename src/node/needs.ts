/**
 * How much memory a model will take, from the head of its weights: what placement and turns go by until the
 * engine itself decides. Tested by test/node/places.ts.
 */
import { isAbort } from '../base/errors.ts'
import type { LlamaCppConfig } from '../config/services.ts'
import { demandOf, paddedContext } from '../models/fit-demand.ts'
import { readGgufHeads } from '../models/gguf.ts'
import { shapeOf } from '../models/shape.ts'

/** What `auto` comes to at least where there is room; more is taken only from what is left over. */
const USUAL = { contextSize: 8_192, slots: 2 }
const BATCH_TOKENS = 512

/** @returns bytes; 0 where nothing can be told, which is for the engine to report. @throws `signal.reason` */
export async function bytesNeeded(
  path: string,
  { contextSize, slots }: Pick<LlamaCppConfig, 'contextSize' | 'slots'>,
  signal: AbortSignal,
): Promise<number> {
  try {
    const shape = shapeOf(await readGgufHeads(path, signal))
    const usual = Math.min(USUAL.contextSize, shape.contextTrained)
    return demandOf(shape, {
      contextSize: paddedContext(contextSize === 'auto' ? usual : contextSize),
      slots: slots === 'auto' ? USUAL.slots : slots,
      kvType: 'f16',
      flashAttention: true,
      batchTokens: BATCH_TOKENS,
    }).total
  } catch (error) {
    if (isAbort(error, signal)) throw error
    return 0
  }
}
