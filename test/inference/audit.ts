import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import { type AuditReport, audit } from '../../src/inference/audit/audit.ts'
import { Target } from '../../src/inference/audit/target.ts'
import { TokenIds } from '../../src/inference/audit/tokens.ts'
import type { InferenceService } from '../../src/inference/inference.ts'
import { readGguf } from '../../src/models/gguf.ts'
import { alteredModel, coarser } from '../support/altered-model.ts'
import { type InferenceServer, type Spoil, serveInference } from '../support/inference-server.ts'
import { tinyBackend } from '../support/tiny-backend.ts'

const { signal } = new AbortController()
const SHA256 = 'a'.repeat(64)

/** Numbers that are the same in every run. */
function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return state / 0x8000_0000
  }
}

interface Checked {
  report: AuditReport
  server: InferenceServer
}

t.test('a server with the weights of the tiny model', async (t) => {
  const folder = t.testdir()
  const local = tinyBackend(folder)
  t.teardown(() => local.stop())
  await local.start()
  const ids = new TokenIds(await readGguf(tinyModelPath(), signal))

  async function check(
    server: InferenceServer,
    options: { questions?: number; spoil?: Spoil; sha256?: string } = {},
  ): Promise<Checked> {
    server.received.length = 0
    server.spoil = options.spoil
    const random = chance(7)
    await using target = new Target(
      { clock: systemClock, random: () => 0 },
      { url: `${server.url}/v1/`, headers: { 'target-service-id': 'llm' }, timeout: ms(30_000) },
    )
    const { questions = 24, sha256 = SHA256 } = options
    const report = await audit(
      { backend: local, ids, target, random },
      { questions, sha256, hasTemplate: true, signal },
    )
    return { report, server }
  }
  const serve = (
    t: Test,
    name: string,
    modelPath = tinyModelPath(),
    more: Partial<InferenceService> = {},
  ) =>
    serveInference(
      t,
      tinyBackend(folder, { modelPath, modelSha256: SHA256, recordFile: `${folder}/${name}.json` }),
      more,
    )

  await t.test('that are honest', async (t) => {
    const server = await serve(t, 'honest')
    await t.test('is consistent', async (t) => {
      const { report } = await check(server)
      t.equal(report.verdict, 'consistent', report.reasons.join('; '))
      t.equal(report.claimed, SHA256)
      t.strictSame(report.models, ['tiny-chat'])
      t.ok(report.measures.agreement > 0.99, `${report.measures.agreement}`)
      t.ok((report.measures.difference?.mean ?? 1) < 0.01)
      t.equal(report.questions.length, 24)
      for (const { tokens, matchedPrefix } of report.questions) t.equal(matchedPrefix, tokens)
    })

    await t.test('was asked what nobody has asked before', async (t) => {
      const asked = server.received.filter(({ path }) => path.endsWith('completions'))
      t.strictSame(
        [...new Set(server.received.map(({ path }) => path))],
        ['/v1/pokt/manifest', '/v1/models', '/v1/completions', '/v1/chat/completions'],
      )
      const bodies = asked.map(({ body }) => JSON.parse(body))
      const texts = bodies.map((body) => body.prompt ?? body.messages[0].content)
      t.equal(new Set(texts).size, texts.length, 'no question comes twice')
      for (const body of bodies) t.match(body, { model: 'tiny-chat', temperature: 0 })
      t.ok(new Set(bodies.map((body) => body.max_tokens)).size > 8, 'answers of any length')
      t.equal(server.received[0]?.headers['target-service-id'], 'llm')
    })

    await t.test('cannot be told', async (t) => {
      const without: Spoil = (body, path) => {
        if (!path.endsWith('completions')) return undefined
        const { choices, ...rest } = JSON.parse(body)
        const bare = choices.map((choice: object) => ({ ...choice, logprobs: null }))
        return { body: JSON.stringify({ ...rest, choices: bare }) }
      }
      const refuse: Spoil = (body, path) =>
        path.endsWith('completions') && server.received.at(-1)?.body.includes('logprobs') === true
          ? { status: 400, body: '{"error":{"param":"logprobs"}}' }
          : without(body, path)
      const cases: [string, Parameters<typeof check>[1], RegExp][] = [
        ['few questions', { questions: 1 }, /only \d+ tokens/],
        [
          'other weights are stated',
          { questions: 1, sha256: 'b'.repeat(64) },
          /states other weights/,
        ],
        ['no log-probabilities', { questions: 12, spoil: without }, /no log-probabilities/],
        ['log-probabilities are refused', { questions: 12, spoil: refuse }, /no log-probabilities/],
        ['failures', { spoil: () => ({ status: 500, body: '{}' }) }, /only 0 tokens/],
        ['not JSON', { spoil: () => ({ body: '<html>' }) }, /only 0 tokens/],
      ]
      for (const [name, options, reason] of cases) {
        const { report } = await check(server, options)
        t.equal(report.verdict, 'cannot tell', name)
        t.match(report.reasons[0], reason, name)
        if (name.startsWith('log'))
          t.equal(server.received.length, 2 + 12 + 1, 'asked once in vain')
        if (name === 'failures') t.equal(report.questions.length, 3, 'it gives up soon')
      }
    })

    await t.test('states nothing', async (t) => {
      const silent: Spoil = (body, path) => {
        if (path.endsWith('manifest')) return { status: 404, body: '{}' }
        const { pocket: _, ...rest } = JSON.parse(body)
        return { body: JSON.stringify(rest) }
      }
      const { report } = await check(server, { questions: 1, spoil: silent })
      t.equal(report.claimed, undefined)
      t.equal(report.reasons.at(-1), 'the server does not state which weights run')
    })

    await t.test('is inconsistent when it is not what it says', async (t) => {
      const changed = (change: (body: { choices: never[]; pocket: object }) => object): Spoil => {
        return (body, path) =>
          path.endsWith('completions')
            ? { body: JSON.stringify(change(JSON.parse(body))) }
            : undefined
      }
      const certain = (choice: { logprobs: { token_logprobs?: []; content?: [] } }) => {
        const { token_logprobs: numbers, content } = choice.logprobs
        if (numbers !== undefined) choice.logprobs.token_logprobs = numbers.map(() => -0.01) as []
        for (const one of content ?? []) Object.assign(one, { logprob: -0.01 })
        return choice
      }
      const cases: [string, number, Spoil, RegExp][] = [
        [
          'faked numbers',
          24,
          changed(({ choices, ...rest }) => ({ ...rest, choices: choices.map(certain) })),
          /more than devices explain/,
        ],
        [
          'another text than was hashed',
          1,
          changed((body) => ({ ...body, pocket: { ...body.pocket, out_sha256: 'b'.repeat(64) } })),
          /hash in an answer/,
        ],
        [
          'two manifests',
          1,
          changed((body) => ({ ...body, pocket: { model: { sha256: 'b'.repeat(64) } } })),
          /one answer states other weights/,
        ],
      ]
      for (const [name, questions, spoil, reason] of cases) {
        const { report } = await check(server, { questions, spoil })
        t.equal(report.verdict, 'inconsistent', name)
        t.match(report.reasons[0], reason, name)
      }
    })
  })

  await t.test('that are not them', async (t) => {
    const noise = chance(3)
    const cases: [string, number, (weight: number) => number][] = [
      ['another model', 3, () => 254 * (noise() - 0.5) * noise()],
      ['three bits', 24, coarser(3)],
    ]
    for (const [name, questions, change] of cases) {
      const path = await alteredModel(folder, name.replace(' ', '-'), change)
      const { report } = await check(await serve(t, name, path), { questions })
      t.equal(report.verdict, 'inconsistent', `${name}: ${report.reasons.join('; ')}`)
      const { matchedPrefix, tokens, answers } = report.measures
      t.ok(matchedPrefix < 0.95 * (tokens / answers), `${name}: other tokens come early`)
    }
  })
})
