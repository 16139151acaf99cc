import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { parseSource } from '../../src/models/source.ts'
import { pathsOf } from '../../src/models/source-huggingface.ts'
import {
  RESOLVE_DEFAULTS,
  type ResolveOptions,
  resolveSource,
} from '../../src/models/source-resolve.ts'
import { COMMIT, serveHub, serveOllama, sha256, weights } from '../support/hostile-server.ts'
import { httpFor, startServer } from '../support/pulling.ts'

const DATA = weights(5_000)
const SHA = sha256(DATA)
const CID = `Qm${'a'.repeat(44)}`

async function setUp(t: Test, options: Partial<ResolveOptions> = {}) {
  const server = await startServer(t)
  const files = await startServer(t)
  const http = httpFor(t)
  const all: ResolveOptions = {
    ...RESOLVE_DEFAULTS,
    endpoint: server.url,
    ollamaRegistry: server.url,
    ipfsGateways: [server.url, files.url],
    folder: t.testdir(),
    ...options,
  }
  const resolve = (text: string, more: Partial<ResolveOptions> = {}) =>
    resolveSource(http, parseSource(text), { ...all, ...more }, new AbortController().signal)
  return { server, files, resolve, folder: all.folder }
}

t.test('a file of the hub: digest, size, commit and licence', async (t) => {
  const { server, files, resolve } = await setUp(t)
  const repo = {
    'M-Q4_K_M.gguf': DATA,
    'M-Q8_0.gguf': weights(9_000),
    'README.md': Buffer.from('x'),
  }
  serveHub(server, files, { repo: 'a/b', files: repo, license: 'apache\u001b[31m-2.0' })
  const file = {
    fileName: 'M-Q4_K_M.gguf',
    bytes: 5_000,
    sha256: SHA,
    urls: [`${server.url}/a/b/resolve/${COMMIT}/M-Q4_K_M.gguf`],
  }
  const expected = { name: 'm-q4_k_m', revision: COMMIT, license: 'apache[31m-2.0', files: [file] }
  t.match(await resolve('hf:a/b/M-Q4_K_M.gguf'), expected)
  t.match(await resolve('hf:a/b:q4_k_m'), { ...expected, source: 'hf:a/b:q4_k_m' })
  await t.rejects(resolve('hf:a/b:Q5_0'), {
    code: 'SOURCE_ABSENT',
    message: /it has: "M-Q4_K_M", "M-Q8_0"/,
  })
  await t.rejects(resolve('hf:a/b/none.gguf'), { code: 'SOURCE_ABSENT' })
  await t.rejects(resolve('hf:a/none/x.gguf'), { code: 'SOURCE_ABSENT' })
})

t.test('a file that the listing says no digest of is asked about', async (t) => {
  const { server, files, resolve } = await setUp(t)
  serveHub(server, files, { repo: 'a/b', files: { 'm.gguf': DATA }, unlisted: ['m.gguf'] })
  t.match(await resolve('hf:a/b/m.gguf'), { files: [{ sha256: SHA, bytes: 5_000 }] })
  t.equal(server.requests.at(-1)?.method, 'HEAD')
  t.equal(files.requests.length, 0)
})

t.test('a model with a licence wants a token, which nobody else gets', async (t) => {
  const { server, files, resolve } = await setUp(t)
  serveHub(server, files, { repo: 'a/b', files: { 'm.gguf': DATA }, token: 'hf_x' })
  await t.rejects(resolve('hf:a/b/m.gguf'), { code: 'SOURCE_REFUSED' })
  await t.rejects(resolve('hf:a/b/m.gguf', { token: 'wrong' }), { code: 'SOURCE_REFUSED' })
  const found = await resolve('hf:a/b/m.gguf', { token: 'hf_x' })
  t.strictSame(found.credential, { token: 'hf_x', origin: server.url })
  const open = resolve('hf:a/b/m.gguf', { token: 'hf_x', endpoint: 'http://mirror.example' })
  await t.rejects(open, { code: 'SOURCE_UNSAFE', message: /not https/ })
})

t.test('the files of a quantisation', (t) => {
  const of = (...paths: string[]) => paths.map((path) => ({ path }))
  const shards = of('Q8_0/m-Q8_0-00001-of-00002.gguf', 'Q8_0/m-Q8_0-00002-of-00002.gguf')
  const all = [...of('m-Q4_K_M.gguf', 'm-Q4_K_S.gguf', 'm-UD-Q4_K_M.gguf'), ...shards]
  const more = [...all, ...of('mmproj-Q4_K_M.gguf', 'm.Q4_K_M.txt')]
  t.strictSame(pathsOf(more, 'Q4_K_M', 'a/b'), ['m-Q4_K_M.gguf'], 'the one that says the least')
  t.strictSame(pathsOf(more, 'UD-Q4_K_M', 'a/b'), ['m-UD-Q4_K_M.gguf'])
  t.strictSame(
    pathsOf(more, 'q8_0', 'a/b'),
    shards.map(({ path }) => path),
  )
  t.throws(() => pathsOf(more, 'Q4_K', 'a/b'), { code: 'SOURCE_ABSENT' })
  const two = of('x-Q4_0.gguf', 'y-Q4_0.gguf')
  t.throws(() => pathsOf(two, 'Q4_0', 'a/b'), { message: /several/ })
  t.end()
})

t.test('an answer that is none of the hub is refused', async (t) => {
  const { server, resolve } = await setUp(t)
  const about = { body: { sha: COMMIT } }
  const rows: readonly [about: object, tree: object][] = [
    [{ body: '<html>' }, {}],
    [{ body: { sha: '../../x' } }, {}],
    [about, { body: { error: 'x' } }],
    [about, { body: [{ type: 'file', path: 'm.gguf', lfs: { oid: SHA, size: -1 } }] }],
  ]
  for (const [one, tree] of rows) {
    server.routes.set('/api/models/a/b/revision/main', () => one)
    server.routes.set(`/api/models/a/b/tree/${COMMIT}`, () => tree)
    await t.rejects(
      resolve('hf:a/b/m.gguf'),
      { code: 'SOURCE_UNSAFE' },
      JSON.stringify([one, tree]),
    )
  }
  let pages = 0
  server.routes.set(`/api/models/a/b/tree/${COMMIT}`, () => ({
    headers: {
      link: `<${server.url}/api/models/a/b/tree/${COMMIT}?cursor=${++pages}>; rel="next"`,
    },
    body: [],
  }))
  await t.rejects(resolve('hf:a/b/m.gguf'), { code: 'SOURCE_UNSAFE', message: /more files/ })
  t.equal(pages, 20)
})

t.test('the registry of Ollama', async (t) => {
  const { server, resolve } = await setUp(t)
  serveOllama(server, 'library/demo:latest', DATA, { license: '\n  MIT License\nCopyright' })
  t.match(await resolve('ollama:demo'), {
    name: 'demo-latest',
    license: 'MIT License',
    files: [
      {
        fileName: 'demo-latest.gguf',
        sha256: SHA,
        urls: [`${server.url}/v2/library/demo/blobs/sha256:${SHA}`],
      },
    ],
  })
  await t.rejects(resolve('ollama:demo:none'), { code: 'SOURCE_ABSENT' })
  const layer = (type: string) => ({
    mediaType: `application/vnd.ollama.image.${type}`,
    digest: `sha256:${SHA}`,
    size: 1,
  })
  const rows: readonly [object[], RegExp][] = [
    [[], /no weights/],
    [[layer('model'), layer('model')], /several/],
    [[layer('model'), layer('adapter')], /adapter/],
    [[{ ...layer('model'), digest: 'sha256:../../x' }], /cannot be read/],
  ]
  for (const [layers, message] of rows) {
    serveOllama(server, 'a/b:v1', DATA, { layers })
    await t.rejects(resolve('ollama:a/b:v1'), { code: 'SOURCE_UNSAFE', message })
  }
})

t.test('what a local Ollama has is used in place', async (t) => {
  const folder = t.testdir()
  const { server, resolve } = await setUp(t, { ollamaFolders: [join(folder, 'none'), folder] })
  const place = join(folder, 'blobs', `sha256-${SHA}`)
  const manifest = join(folder, 'manifests/registry.ollama.ai/library/demo/1b')
  const mediaType = 'application/vnd.ollama.image.model'
  const layers = [{ mediaType, digest: `sha256:${SHA}`, size: DATA.length }]
  for (const [path, data] of [
    [place, DATA],
    [manifest, JSON.stringify({ layers })],
  ] as const) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, data)
  }
  t.match(await resolve('ollama:demo:1b'), { files: [{ place, sha256: SHA, urls: [] }] })
  t.equal(server.requests.length, 0)
})

t.test('any server, and gateways of IPFS', async (t) => {
  const { server, files, resolve } = await setUp(t)
  server.files.set('/a b.gguf', DATA)
  t.match(await resolve(`${server.url}/a%20b.gguf?x=1`), {
    name: 'a-b',
    files: [{ fileName: 'a b.gguf', bytes: 5_000, sha256: undefined }],
  })
  t.match(await resolve(`${server.url}/a%20b.gguf`, { sha256: SHA, name: 'mine' }), {
    name: 'mine',
    files: [{ sha256: SHA }],
  })
  server.behave = () => ({ noRanges: true })
  t.match(await resolve(`${server.url}/a%20b.gguf`), { files: [{ bytes: 5_000 }] })
  server.behave = () => ({ noRanges: true, extra: 0 })
  await t.rejects(resolve(`${server.url}/a%20b.gguf`), { message: /how long/ })
  server.behave = () => ({ body: '<html>' })
  await t.rejects(resolve(`${server.url}/a%20b.gguf`), { code: 'DOWNLOAD_BROKEN' })
  for (const path of ['/..%2f..%2fx.gguf', '/x.bin', '/', '/%00.gguf', '/%ff.gguf', '/con.gguf'])
    await t.rejects(resolve(`${server.url}${path}`), { code: 'SOURCE_UNSAFE' }, path)

  server.behave = () => ({ status: 504 })
  files.files.set(`/ipfs/${CID}/m.gguf`, DATA)
  t.match(await resolve(`ipfs:${CID}/m.gguf#sha256=${SHA}`), {
    files: [{ sha256: SHA, urls: [`${server.url}/ipfs/${CID}/m.gguf`, /^http/] }],
  })
  await t.rejects(resolve(`ipfs:${CID}`), { code: 'SOURCE_ABSENT', message: /no gateway/ })
})

t.test('a file of this machine', async (t) => {
  const { resolve, folder } = await setUp(t)
  await writeFile(join(folder, 'm.gguf'), DATA)
  const place = join(folder, 'm.gguf')
  t.match(await resolve('./m.gguf'), { source: place, files: [{ place, bytes: 5_000, urls: [] }] })
  await t.rejects(resolve('none.gguf'), { code: 'SOURCE_ABSENT' })
  await mkdir(join(folder, 'd.gguf'))
  await t.rejects(resolve('./d.gguf'), { code: 'SOURCE_ABSENT' })
  await writeFile(join(folder, 's-00001-of-00002.gguf'), DATA)
  await t.rejects(resolve('./s-00001-of-00002.gguf'), {
    code: 'SOURCE_ABSENT',
    message: /00002-of/,
  })
  await t.rejects(resolve('./s-00002-of-00002.gguf'), { code: 'SOURCE_NAME' })
})

t.test('a digest of the owner must be that of the source', async (t) => {
  const { server, files, resolve } = await setUp(t)
  serveHub(server, files, { repo: 'a/b', files: { 'm.gguf': DATA } })
  const other = createHash('sha256').update('x').digest('hex')
  t.match(await resolve('hf:a/b/m.gguf', { sha256: SHA }), { files: [{ sha256: SHA }] })
  await t.rejects(resolve('hf:a/b/m.gguf', { sha256: other }), { code: 'DIGEST_CHANGED' })
  await t.rejects(resolve('hf:a/b/m.gguf', { name: '../x' }), { code: 'MODEL_NAME' })
})
