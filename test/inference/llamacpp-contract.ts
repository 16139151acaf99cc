import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { LLAMACPP_DEFAULTS } from '../../src/inference/llamacpp/options.ts'
import { backendContract } from '../contract/backend.ts'
import { GREEDY, TINY_MODEL } from '../support/tiny-model.ts'

t.test('the built-in engine keeps the backend contract', async (t) => {
  const folder = t.testdir()
  let count = 0
  const factory = () =>
    new LlamaCppBackend(
      { clock: systemClock, log: silentLog(), random: () => 0.5 },
      {
        ...LLAMACPP_DEFAULTS,
        modelPath: TINY_MODEL,
        contextSize: 2048,
        slots: 2,
        gpu: false,
        threadsMax: 1,
        defaults: GREEDY,
        model: 'tiny-chat',
        environment: { PATH: process.env['PATH'] ?? '' },
        recordFile: join(folder, `engine-${count++}.json`),
      },
    )
  await backendContract(t, 'llamacpp', factory, { streams: true, prompt: 'Count from 4 to 9.' })
})
