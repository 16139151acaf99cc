import t from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLog } from '../../../src/base/log.ts'
import { OllamaBackend } from '../../../src/inference/ollama/backend.ts'
import { backendContract } from '../../contract/backend.ts'
import { FakeOllama } from '../../support/fake-ollama.ts'

const deps = { clock: systemClock, log: silentLog(), random: Math.random, environment: {} }

for (const chunkBytes of [0, 7])
  t.test(`Ollama keeps the backend contract, ${chunkBytes} bytes at a time`, async (t) => {
    const server = new FakeOllama({ chunkBytes })
    await server.open()
    t.teardown(() => server.close())
    const options = { url: server.host, model: 'echo', contextSize: 256, slots: 3 }
    const factory = () => new OllamaBackend(deps, options)
    await backendContract(t, `${chunkBytes}`, factory, { streams: true })
  })

const host = process.env['OLLAMA_HOST']
const skip = host === undefined ? 'OLLAMA_HOST is not set' : false

t.test('a real Ollama keeps the backend contract', { skip }, async (t) => {
  const model = process.env['OLLAMA_MODEL'] ?? 'demo'
  const options = { url: host ?? '', model, contextSize: 1_024, slots: 1 }
  await backendContract(t, 'real', () => new OllamaBackend(deps, options), {
    streams: true,
    repeatable: false,
  })
})
