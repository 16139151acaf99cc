/** The built-in engine on one thread with the tiny model, or with a copy of it that was altered. */
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { LLAMACPP_DEFAULTS, type LlamaCppOptions } from '../../src/inference/llamacpp/options.ts'

/** @param folder for the record of the engine; one for each backend */
export function tinyBackend(
  folder: string,
  wishes: Partial<LlamaCppOptions> = {},
): LlamaCppBackend {
  return new LlamaCppBackend(
    { clock: systemClock, log: silentLog(), random: () => 0.5 },
    {
      ...LLAMACPP_DEFAULTS,
      model: 'tiny-chat',
      modelPath: tinyModelPath(),
      contextSize: 256,
      slots: 2,
      gpu: false,
      threadsMax: 1,
      niceness: 0,
      environment: {},
      recordFile: join(folder, 'engine.json'),
      ...wishes,
    },
  )
}
