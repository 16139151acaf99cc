import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { createLog } from '../../src/base/log.ts'
import { parseConfig } from '../../src/config/load.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import { LLAMACPP_DEFAULTS } from '../../src/inference/llamacpp/options.ts'
import { Digests } from '../../src/models/digest.ts'
import { readWeights } from '../../src/node/weights.ts'
import { complete, never } from '../contract/backend-asks.ts'
import { llamaCpp } from '../support/llamacpp.ts'

const { entry } = LLAMACPP_DEFAULTS
const sum = (await readFile(`${tinyModelPath()}.sha256`, 'utf8')).slice(0, 64)

/** A folder of Ollama with the tiny model in it. @param name of the file, which says the hash of it */
async function ollama(t: Test, name = `sha256-${sum}`): Promise<string> {
  const folder = t.testdir({})
  const manifests = join(folder, 'manifests', 'registry.ollama.ai', 'library', 'tiny')
  await mkdir(manifests, { recursive: true })
  await mkdir(join(folder, 'blobs'))
  await copyFile(tinyModelPath(), join(folder, 'blobs', name))
  const { length: size } = await readFile(tinyModelPath())
  const mediaType = 'application/vnd.ollama.image.model'
  const layers = [{ mediaType, digest: name.replace('-', ':'), size }]
  await writeFile(join(manifests, '1b'), JSON.stringify({ layers }))
  return folder
}

async function read(folder: string, model: string) {
  const lines: string[] = []
  const text = `{ network: local, operators: [{ keyFile: a }], services: [{ id: s, backend: { kind: llamacpp, model: "${model}" } }] }`
  const config = { ...parseConfig(text, folder), dataDir: folder }
  const [service] = config.services
  if (service === undefined) throw new Error('there is one')
  const environment = { ollama: { OLLAMA_MODELS: folder }, engine: {}, npm: {} }
  const log = createLog('info', { write: (line) => lines.push(line) })
  const deps = { clock: systemClock, log, environment }
  const digests = new Digests({ cacheFile: join(folder, 'digests.json') })
  return {
    lines,
    weights: await readWeights({ config, deps, signal: never() } as never, service, digests),
  }
}

t.test('weights that Ollama keeps are used where they lie', async (t) => {
  const folder = await ollama(t)
  const { weights, lines } = await read(folder, 'ollama:tiny:1b')
  t.match(weights, { path: join(folder, 'blobs', `sha256-${sum}`), sha256: sum })
  t.strictSame(lines, [], 'nothing is said of what takes no time')
  const backend = llamaCpp(t, { entry, modelPath: weights.path ?? '' })
  await backend.start()
  const { text } = await backend.generate(complete('The days of the week', { maxTokens: 5 }), {
    signal: never(),
  })
  t.not(text, '')
})

t.test('a model of the library, by its name', async (t) => {
  const folder = t.testdir({
    models: {
      'models.lock.json': JSON.stringify({
        version: 1,
        models: {
          'my-model': {
            source: tinyModelPath(),
            files: [{ fileName: 'm.gguf', sha256: sum, bytes: 1, place: tinyModelPath() }],
            addedAt: 0,
          },
        },
      }),
    },
  })
  t.match((await read(folder, 'my-model')).weights, { path: tinyModelPath(), sha256: sum })
  await t.rejects(read(folder, 'another'), { code: 'MODEL_ABSENT', message: /another/ })
})

t.test('a model that Ollama does not have, or not as its name says', async (t) => {
  const folder = await ollama(t, `sha256-${'ab'.repeat(32)}`)
  await t.rejects(read(folder, 'ollama:tiny:1b'), {
    code: 'MODEL_LOAD',
    message: /does not hold what its name says/,
  })
  await t.rejects(read(folder, 'ollama:other'), { code: 'MODEL_LOAD', message: /other/ })
})

t.test('a file of its own, and what is not there', async (t) => {
  t.match((await read(t.testdir({}), 'tiny')).weights, { path: tinyModelPath(), sha256: sum })
  await t.rejects(read(t.testdir({}), 'none.gguf'), { code: 'MODEL_LOAD', message: /none\.gguf/ })
})
