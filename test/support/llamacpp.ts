/** A backend of the built-in engine as tests want it: no GPU, one thread, the tiny model. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { LLAMACPP_DEFAULTS, type LlamaCppOptions } from '../../src/inference/llamacpp/options.ts'
import { GREEDY, TINY_MODEL } from './tiny-model.ts'

export type BackendWishes = Partial<LlamaCppOptions> &
  Pick<LlamaCppOptions, 'entry'> & { clock?: Clock; log?: Log }

export function llamaCpp(t: Test, { clock, log, ...wishes }: BackendWishes): LlamaCppBackend {
  const backend = new LlamaCppBackend(
    { clock: clock ?? systemClock, log: log ?? silentLog(), random: () => 0.5 },
    {
      ...LLAMACPP_DEFAULTS,
      model: 'tiny-chat',
      modelPath: TINY_MODEL,
      contextSize: 256,
      gpu: false,
      threadsMax: 1,
      niceness: 0,
      defaults: GREEDY,
      environment: {},
      execArgv: [],
      recordFile: join(t.testdirName, 'engine.json'),
      ...wishes,
    },
  )
  t.teardown(() => backend.stop())
  return backend
}
