import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import { command } from '../support/command.ts'
import { serveInference } from '../support/inference-server.ts'
import { tinyBackend } from '../support/tiny-backend.ts'

const SHA256 = 'f533269570c758f6e0ad4a453ed086738b41737b5fb3789825a255fdcf1504a1'
const MODEL = ['--model', tinyModelPath(), '--gpu', 'off']

t.test('audit', async (t) => {
  const folder = t.testdir()
  const server = await serveInference(t, tinyBackend(folder, { modelSha256: SHA256 }))

  await t.test('says that a server is consistent', async (t) => {
    const { status, out, err } = await command(['audit', server.url, ...MODEL, '--questions', '40'])
    t.equal(status, EXIT.ok, err)
    t.match(out, /^verdict {4}consistent\nbecause {4}log-probabilities differ by 0\.0/)
    t.match(out, new RegExp(`\\nweights {4}sha256 ${SHA256}\\nstated {5}sha256 ${SHA256}\\n`))
    t.match(out, /\ncompared {3}\d+ tokens of \d+ answers, \d+ of them not plain\n/)
    t.match(err, /^reading tiny-chat\.gguf\nasked 8 of 40\n/)
  })

  await t.test('or that it cannot tell, as data', async (t) => {
    const key = join(folder, 'key')
    await writeFile(key, 'sk-secret\n', { mode: 0o600 })
    const words = ['--questions', '1', '--json', '--name', 'theirs', '--api-key-file', key]
    const more = ['--header', 'Target-Service-Id: llm', '--header', 'X-Two: 2']
    server.received.length = 0
    const { status, out, err } = await command(['audit', server.url, ...MODEL, ...words, ...more])
    t.equal(status, EXIT.unclear)
    t.match(JSON.parse(out), {
      url: server.url,
      verdict: 'cannot tell',
      sha256: SHA256,
      claimed: SHA256,
      manifest: { v: 1, model: { name: 'tiny-chat' } },
      questions: [{ kind: 'text' }],
    })
    t.match(err, /AUDIT_UNCLEAR: only \d+ tokens/)
    t.notMatch(out + err, /sk-secret/)
    const asked = server.received.at(-1)
    t.match(asked, { path: '/v1/completions', body: /"model":"theirs"/ })
    t.match(asked?.headers, {
      authorization: 'Bearer sk-secret',
      'target-service-id': 'llm',
      'x-two': '2',
    })
  })

  await t.test('or that it is inconsistent', async (t) => {
    server.spoil = (body, path) =>
      path.endsWith('completions')
        ? { body: body.replace(/"out_sha256":"\w+"/, `"out_sha256":"${SHA256}"`) }
        : undefined
    const { status, err } = await command(['audit', server.url, ...MODEL, '--questions', '1'])
    t.equal(status, EXIT.failure)
    t.match(err, /AUDIT_INCONSISTENT: the hash in an answer is not that of its text/)
  })
})

t.test('audit refuses what it cannot use', async (t) => {
  const bad = join(t.testdir({ 'bad.gguf': 'no weights' }), 'bad.gguf')
  const url = 'http://127.0.0.1:9'
  const cases: [string[], number, RegExp][] = [
    [['nowhere', ...MODEL], EXIT.config, /write a URL/],
    [[url], EXIT.config, /required option '--model/],
    [[url, ...MODEL, '--questions', '0'], EXIT.config, /whole number from 1 to 1000/],
    [[url, ...MODEL, '--header', 'no colon'], EXIT.config, /"Name: value"/],
    [[url, ...MODEL, '--header', 'a: b\nc: d'], EXIT.config, /"Name: value"/],
    [[url, '--model', bad], EXIT.failure, /MODEL_LOAD: this is not a GGUF file/],
  ]
  for (const [words, status, message] of cases) {
    const ended = await command(['audit', ...words])
    t.equal(ended.status, status, words.join(' '))
    t.match(ended.err, message)
  }
})
