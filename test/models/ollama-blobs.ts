import { createHash } from 'node:crypto'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { ollamaBlob, ollamaFolders } from '../../src/models/ollama-blobs.ts'

const WEIGHTS = Buffer.from('GGUF and so on')
const SHA256 = createHash('sha256').update(WEIGHTS).digest('hex')
const MODEL = 'application/vnd.ollama.image.model'

const layer = (more: object = {}) => ({
  mediaType: MODEL,
  digest: `sha256:${SHA256}`,
  size: WEIGHTS.length,
  ...more,
})

async function put(path: string, data: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, data)
}

t.test('the weights of a model are found by its name', async (t) => {
  const folder = t.testdir()
  const manifests = join(folder, 'manifests')
  const path = join(folder, 'blobs', `sha256-${SHA256}`)
  await put(path, WEIGHTS)
  const template = { mediaType: 'application/vnd.ollama.image.template', digest: 'x', size: 1 }
  const manifest = JSON.stringify({ schemaVersion: 2, layers: [template, layer()] })
  const places = {
    demo: 'registry.ollama.ai/library/demo/latest',
    'llama3.2:1b': 'registry.ollama.ai/library/llama3.2/1b',
    'me/mine:v1': 'registry.ollama.ai/me/mine/v1',
    'hf.co/user/repo-GGUF:Q4_K_M': 'hf.co/user/repo-GGUF/Q4_K_M',
    'box:5000/a/b': 'box:5000/a/b/latest',
  }
  for (const [name, place] of Object.entries(places)) {
    await put(join(manifests, place), manifest)
    const blob = await ollamaBlob(folder, name)
    t.strictSame(blob, { path, sha256: SHA256, bytes: WEIGHTS.length }, name)
  }
})

t.test('a name that leads elsewhere is none', async (t) => {
  const folder = t.testdir()
  const names = [
    '',
    '..',
    '../a',
    'a/..',
    'a:..',
    '/etc/passwd',
    'a//b',
    'a/b/c/d',
    'a:b:c',
    'a\\b',
    'a:.b',
    'a b',
  ]
  for (const name of names)
    await t.rejects(
      ollamaBlob(folder, name),
      { code: 'MODEL_LOAD', message: /no name of a model/ },
      name,
    )
  await t.rejects(ollamaBlob(folder, 'absent'), { code: 'MODEL_LOAD', message: /has no model/ })
})

t.test('weights that are not as they should be are refused', async (t) => {
  const folder = t.testdir()
  const manifest = join(folder, 'manifests/registry.ollama.ai/library/m/latest')
  const blobs = join(folder, 'blobs')
  await put(join(blobs, `sha256-${SHA256}`), WEIGHTS)
  const bad = 'c'.repeat(64)
  const linked = 'd'.repeat(64)
  await put(join(blobs, `sha256-${bad}`), 'XXXX')
  const outside = join(t.testdirName, '..', `outside-${SHA256.slice(0, 8)}.gguf`)
  await put(outside, WEIGHTS)
  await symlink(outside, join(blobs, `sha256-${linked}`))
  const rows: [layers: unknown, message: RegExp][] = [
    [[], /has no weights/],
    [undefined, /cannot be read/],
    [[7], /cannot be read/],
    [[layer(), layer()], /several files/],
    [[layer(), layer({ mediaType: 'application/vnd.ollama.image.adapter' })], /adapter/],
    [[layer({ digest: 'sha256:../../etc' })], /something else/],
    [[layer({ size: 1 })], /not complete/],
    [[layer({ digest: `sha256:${'e'.repeat(64)}` })], /cannot be read/],
    [[layer({ digest: `sha256:${bad}`, size: 4 })], /no GGUF/],
    [[layer({ digest: `sha256:${linked}` })], /outside/],
  ]
  for (const [layers, message] of rows) {
    await put(manifest, JSON.stringify({ layers }))
    await t.rejects(ollamaBlob(folder, 'm'), { code: 'MODEL_LOAD', message }, String(message))
  }
  await put(manifest, 'no JSON')
  await t.rejects(ollamaBlob(folder, 'm'), { code: 'MODEL_LOAD', message: /cannot be read/ })
})

t.test('where Ollama keeps its models', (t) => {
  t.strictSame(ollamaFolders({ OLLAMA_MODELS: '/data/models' }, '/home/a'), ['/data/models'])
  t.strictSame(ollamaFolders({}, '/home/a'), [
    '/home/a/.ollama/models',
    '/usr/share/ollama/.ollama/models',
  ])
  t.end()
})
