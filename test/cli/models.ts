import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { durationText, ProgressLine, rate } from '../../src/cli/models-progress.ts'
import { command } from '../support/command.ts'
import { COMMIT, serveHub, sha256, weights } from '../support/hostile-server.ts'
import { startServer } from '../support/pulling.ts'

const DATA = weights(50_000)

t.test('a model is added, listed, verified and removed', async (t) => {
  const server = await startServer(t)
  const files = await startServer(t)
  serveHub(server, files, {
    repo: 'a/b',
    files: { 'M-Q4_0.gguf': DATA },
    license: 'mit',
    token: 'hf_x',
  })
  const data = t.testdir()
  const token = join(data, 'token')
  await writeFile(token, 'hf_x\n', { mode: 0o600 })
  const hub = ['--data', data, '--endpoint', server.url]
  const refused = await command(['models', 'add', 'hf:a/b:Q4_0', ...hub])
  t.equal(refused.status, EXIT.failure)
  t.match(refused.err, /SOURCE_REFUSED: a\/b.*401\n.*--token-file/s)

  const added = await command(['models', 'add', 'hf:a/b:Q4_0', ...hub, '--token-file', token])
  t.equal(added.status, EXIT.ok, added.err)
  const blob = join(data, 'models', 'blobs', `sha256-${sha256(DATA)}`)
  t.equal(added.out, `m-q4_0 is here: ${blob}\n`)
  t.match(added.err, /M-Q4_0\.gguf {2}48\.8 KiB\n {2}licence: mit\n {2}48\.8 KiB to fetch, .* free/)
  t.match(added.err, /m-q4_0 100 % {2}48\.8 KiB of 48\.8 KiB\n/)
  t.notMatch(added.err + added.out, 'hf_x')
  t.ok((await readFile(blob)).equals(DATA))

  const list = await command(['models', 'list', '--data', data])
  t.equal(list.out, 'm-q4_0    48.8 KiB  hf:a/b:Q4_0\n')
  const json = await command(['models', 'list', '--data', data, '--json'])
  const { models } = JSON.parse(json.out)
  t.match(models, [{ name: 'm-q4_0', path: blob, bytes: 50_000, revision: COMMIT, license: 'mit' }])

  t.match(await command(['models', 'verify', '--data', data]), {
    status: EXIT.ok,
    out: 'm-q4_0  M-Q4_0.gguf  right\n',
  })
  await writeFile(blob, 'GGUF')
  t.match(await command(['models', 'verify', 'm-q4_0', '--data', data]), {
    status: EXIT.failure,
    out: 'm-q4_0  M-Q4_0.gguf  damaged\n',
    err: /MODEL_DAMAGED: not as it was added: m-q4_0/,
  })
  t.match(await command(['models', 'remove', 'm-q4_0', '--data', data]), { status: EXIT.ok })
  t.strictSame(await readdir(join(data, 'models', 'blobs')), [])
  t.match(await command(['models', 'remove', 'm-q4_0', '--data', data]), {
    status: EXIT.failure,
    err: /MODEL_ABSENT/,
  })
  await writeFile(join(data, 'models', 'parts', `${`sha256-${'a'.repeat(64)}`}.part`), 'x')
  t.match(await command(['models', 'prune', '--data', data]), { out: / are free again\n/ })
  t.strictSame(await readdir(join(data, 'models', 'parts')), [])
  t.match((await command(['models', 'list', '--data', data])).err, /no model is here/)
})

t.test('much is not fetched unasked', async (t) => {
  const server = await startServer(t)
  const size = 200 * 1024 * 1024
  server.routes.set('/api/models/a/b/revision/main', () => ({ body: { sha: COMMIT } }))
  server.routes.set(`/api/models/a/b/tree/${COMMIT}`, () => ({
    body: [{ type: 'file', path: 'm.gguf', size, lfs: { oid: sha256('x'), size } }],
  }))
  const data = t.testdir()
  const words = ['models', 'add', 'hf:a/b/m.gguf', '--no-fit', '--data', data]
  words.push('--endpoint', server.url)
  const no = await command(words, { answers: ['n'] })
  t.equal(no.status, EXIT.failure)
  t.match(no.asked, [{ question: 'Fetch 200.0 MiB? [y/N] ' }])
  t.match(no.err, /licence: not said/)
  t.equal((await command(words)).status, EXIT.config, 'nobody can be asked')
  const yes = await command([...words, '--yes'])
  t.match(yes.err, /SOURCE_ABSENT/, 'it goes on')
})

t.test('a plain address wants a digest, and what is pinned stays', async (t) => {
  const server = await startServer(t, { '/m.gguf': DATA })
  const data = t.testdir()
  const url = `${server.url}/m.gguf`
  const add = (...more: string[]) =>
    command(['models', 'add', url, '--no-fit', '--data', data, ...more])
  t.match(await add(), { status: EXIT.config, err: /DIGEST_UNKNOWN.*\n.*--unverified/ })
  t.match(await add('--sha256', sha256('other')), { status: EXIT.failure, err: /DOWNLOAD_BROKEN/ })
  t.match(await add('--unverified', '--bandwidth', '10MB'), { status: EXIT.ok })
  server.files.set('/m.gguf', weights(50_000))
  await rm(join(data, 'models', 'blobs'), { recursive: true })
  t.match(await add(), { status: EXIT.failure, err: /DOWNLOAD_BROKEN: .* and not/ })
  const updated = await add('--unverified', '--update', '--json')
  t.equal(updated.status, EXIT.ok)
  t.match(JSON.parse(updated.out), { name: 'm', source: url, files: [{ bytes: 50_000 }] })
  t.match(await add('--bandwidth', '10'), { status: EXIT.config, err: /with their unit/ })
  t.match(await add('--endpoint', 'nowhere'), { status: EXIT.config, err: /is no address/ })
})

t.test('a file is used where it lies', async (t) => {
  const data = t.testdir()
  const place = join(data, 'mine.gguf')
  await writeFile(place, DATA)
  const added = await command(['models', 'add', place, '--data', data, '--no-fit'])
  t.equal(added.out, `mine is here: ${place}\n`)
  t.match(added.err, 'used in place')
  t.match(await command(['models', 'remove', 'mine', '--data', data]), { status: EXIT.ok })
  t.ok(await readFile(place))
  const unknown = await command(['models', 'add', 'nicer-model', '--no-fit', '--data', data])
  t.match(unknown.err, /SOURCE_NAME: "nicer-model" cannot be fetched.*\n.*hf:OWNER/)
})

t.test('how far it is, on a terminal and elsewhere', (t) => {
  const half = { bytes: 512, total: 1_024, bytesPerSecond: 256 }
  const drawn: string[] = []
  const said: string[] = []
  const say = (text: string) => void said.push(text)
  new ProgressLine({ say, redraw: (text) => void drawn.push(text) }, 'm').show(half)
  t.strictSame(drawn, [
    `m [${'#'.repeat(12)}${'-'.repeat(12)}]  50 %  512 B of 1.0 KiB  256 B/s  0:02 left`,
  ])
  t.strictSame(said, [])
  const plain = new ProgressLine({ say, redraw: undefined }, 'm')
  for (let bytes = 0; bytes <= 1_000; bytes += 10) plain.show({ bytes, total: 1_000 })
  t.equal(said.length, 11)
  t.equal(said.at(-1), 'm 100 %  1000 B of 1000 B')
  t.equal(durationText(3_723.2), '1:02:04')
  t.equal(rate('10MB'), 10_000_000)
  t.equal(rate('1.5 MiB/s'), 1_572_864)
  for (const text of ['10', 'MB', '-1MB', '10 parsecs', '1B']) t.throws(() => rate(text), text)
  t.end()
})
