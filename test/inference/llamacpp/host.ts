import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { createLog, silentLog } from '../../../src/base/log.ts'
import { LlamaCppBackend } from '../../../src/inference/llamacpp/host.ts'
import { LLAMACPP_DEFAULTS } from '../../../src/inference/llamacpp/options.ts'
import { ANSWERS, GREEDY, request, TINY_OPTIONS } from '../../support/tiny-model.ts'

t.test('x', async (t) => {
  const b = new LlamaCppBackend(
    { clock: systemClock, log: createLog('debug', process.stderr), random: () => 0.5 },
    {
      ...LLAMACPP_DEFAULTS,
      ...TINY_OPTIONS,
      defaults: GREEDY,
      model: 'tiny',
      environment: { PATH: process.env['PATH'] ?? '', SECRET: 'x' },
      recordFile: join(t.testdir(), 'engine.json'),
    },
  )
  const s = Date.now()
  await b.start()
  console.log('start', Date.now() - s, b.info(), b.stats(), b.pid)
  for (const [q, a] of ANSWERS) {
    const r = await b.chat(request(q), {
      signal: new AbortController().signal,
      onText: (x) => console.log(JSON.stringify(x)),
    })
    console.log(r, r.text === a)
  }
  const z = Date.now()
  await b.stop()
  console.log('stop', Date.now() - z, b.stats())
})
