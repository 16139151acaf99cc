import { writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { settingsOf } from '../../src/cli/models-folder.ts'
import { sourcesOf } from '../../src/cli/models-sources.ts'
import type { Environment } from '../../src/config/environment.ts'
import { readEnvironment } from '../../src/config/environment.ts'
import { command, FakeTerminal } from '../support/command.ts'

const CONFIG = `network: local
dataDir: data
operators: [{ keyFile: none.json }]
services: [{ id: a, backend: { kind: llamacpp, model: tiny } }]
`
const MODELS = `models:
  folder: weights
  catalogue: own
  bandwidthMax: 2MiB
  huggingFace: { endpoint: 'https://mirror.example', tokenFile: token }
  ollamaRegistry: https://ollama.example
  ipfsGateways: ['https://ipfs.example']
`

function contextWith(environment: Partial<Environment>) {
  return new FakeTerminal({ environment }).context
}

t.test('folders come from the flag, the configuration, or are the usual ones', async (t) => {
  const folder = t.testdir({ 'supplier.yaml': CONFIG + MODELS, 'plain.yaml': CONFIG })
  const config = join(folder, 'supplier.yaml')
  const context = contextWith({})
  t.match(await settingsOf(context, { config }), {
    dataFolder: join(folder, 'data'),
    models: { folder: join(folder, 'weights'), catalogue: join(folder, 'own') },
    config: { dataDir: String },
  })
  t.match(await settingsOf(context, { config, data: folder }), {
    dataFolder: folder,
    models: { folder: join(folder, 'weights') },
  })
  const only = await settingsOf(context, { data: folder })
  t.match(only, { dataFolder: folder, config: undefined, models: { huggingFace: {} } })
  t.equal((await settingsOf(context, {})).dataFolder, join(homedir(), '.pokt-supplier'))
  const named = contextWith({ configPath: join(folder, 'plain.yaml') })
  t.equal((await settingsOf(named, {})).dataFolder, join(folder, 'data'))
  await t.rejects(settingsOf(context, { config: join(folder, 'none.yaml') }), {
    code: 'CONFIG_MISSING',
  })
  await t.rejects(settingsOf(contextWith({ configPath: join(folder, 'none.yaml') }), {}), {
    code: 'CONFIG_MISSING',
  })
  await writeFile(join(folder, 'token'), 'hf_x\n', { mode: 0o600 })
  const place = join(folder, 'w.gguf')
  await writeFile(place, 'GGUF')
  await command(['models', 'add', place, '--no-fit', '-c', config])
  t.match((await command(['models', 'list', '-c', config])).out, /^w /)
  t.equal((await command(['models', 'list', '-c', join(folder, 'plain.yaml')])).out, '')
})

t.test('sources: flags go before the configuration, and that before the environment', async (t) => {
  const folder = t.testdir({ 'supplier.yaml': CONFIG + MODELS })
  await writeFile(join(folder, 'token'), 'hf_config\n', { mode: 0o600 })
  await writeFile(join(folder, 'other'), 'hf_flag\n', { mode: 0o600 })
  const huggingFace = { endpoint: 'https://env.example', token: 'hf_env' }
  const context = contextWith({ huggingFace })
  const configured = await settingsOf(context, { config: join(folder, 'supplier.yaml') })
  const plain = await settingsOf(context, { data: folder })
  t.match(await sourcesOf(context, plain, {}), { endpoint: 'https://env.example', token: 'hf_env' })
  t.match(await sourcesOf(context, configured, {}), {
    endpoint: 'https://mirror.example',
    token: 'hf_config',
    ollamaRegistry: 'https://ollama.example',
    ipfsGateways: ['https://ipfs.example'],
  })
  const flags = {
    endpoint: 'https://flag.example',
    tokenFile: join(folder, 'other'),
    registry: 'https://registry.example',
    gateway: ['https://gateway.example'],
  }
  t.match(await sourcesOf(context, configured, flags), {
    endpoint: 'https://flag.example',
    token: 'hf_flag',
    ollamaRegistry: 'https://registry.example',
    ipfsGateways: ['https://gateway.example'],
  })
  const bare = new FakeTerminal({ environment: readEnvironment({}) }).context
  t.match(await sourcesOf(bare, plain, {}), {
    endpoint: 'https://huggingface.co',
    token: undefined,
  })
  const odd = contextWith({ huggingFace: { endpoint: 'nowhere', token: 'a b' } })
  await t.rejects(sourcesOf(odd, plain, {}), { code: 'USAGE' })
  await t.rejects(sourcesOf(odd, plain, { endpoint: 'https://x.example' }), {
    code: 'FILE',
    message: 'HF_TOKEN does not hold a token: one line of letters and digits',
  })
})
