import t from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import type { BackendInfo, ModelFacts } from '../../src/inference/backend.ts'
import { ALL_FEATURES } from '../../src/inference/features.ts'
import { canonical, fingerprintOf, manifest, modelManifest } from '../../src/inference/manifest.ts'
import type { CompletionRequest, Generation } from '../../src/inference/request.ts'

const facts: ModelFacts = {
  sha256: 'a'.repeat(64),
  format: 'gguf',
  quantisation: 'Q4_K_M',
  tokenizerSha256: 'b'.repeat(64),
  templateSha256: 'c'.repeat(64),
  build: 'node-llama-cpp 3, llama.cpp b1',
  repeatable: true,
  sampling: { temperature: 0.7, topP: 0.8, topK: 20, minP: 0 },
}
const info: BackendInfo = {
  kind: 'llamacpp',
  model: '/home/somebody/weights.gguf',
  contextSize: 256,
  slots: 2,
  device: 'cpu',
  features: ALL_FEATURES,
  fingerprint: 'fp_1',
  facts,
}
const claimed: BackendInfo = { ...info, kind: 'upstream', device: 'upstream', facts: {} }
const request: CompletionRequest = {
  kind: 'completion',
  prompt: 'a private prompt',
  echo: false,
  stop: [],
}
const choice: Generation = {
  text: 'answer',
  toolCalls: [],
  finishReason: 'stop',
  usage: { promptTokens: 1, completionTokens: 1 },
  fingerprint: 'f',
}
const ran = { model: 'demo', info, request, choices: [choice], requestBody: utf8('{"a":1}') }

/** What of it depends on the request. */
const sampling = (more: Partial<CompletionRequest>, of: BackendInfo = info) =>
  manifest({ ...ran, info: of, request: { ...request, ...more } })['sampling']

t.test('says what ran and hashes what was said', async (t) => {
  const wishes = { temperature: 0.5, topP: 0.9, seed: 2n ** 63n, maxTokens: 8 }
  const said = manifest({ ...ran, request: { ...request, ...wishes }, logprobRoot: 'd'.repeat(64) })
  t.strictSame(said, {
    v: 1,
    model: {
      name: 'demo',
      format: 'gguf',
      sha256: 'a'.repeat(64),
      quant: 'Q4_K_M',
      ctx: 256,
    },
    tokenizer_sha256: 'b'.repeat(64),
    template_sha256: 'c'.repeat(64),
    engine: {
      name: 'llamacpp',
      build: 'node-llama-cpp 3, llama.cpp b1',
      device: 'cpu',
      settings: 'fp_1',
    },
    defaults: { temperature: 0.7, top_p: 0.8, top_k: 20, min_p: 0 },
    sampling: {
      temperature: 0.5,
      top_p: 0.9,
      top_k: 20,
      min_p: 0,
      seed: '9223372036854775808',
      max_tokens: 8,
      algo: 'icdf-v1',
    },
    req_sha256: hex(sha256(utf8('{"a":1}'))),
    out_sha256: hex(sha256(utf8('answer'))),
    logprob_root: 'd'.repeat(64),
  })
})

t.test('of several choices the joined text is hashed', async (t) => {
  const said = manifest({ ...ran, choices: [choice, { ...choice, text: ' two' }] })
  t.equal(said['out_sha256'], hex(sha256(utf8('answer two'))))
})

t.test('states the sampling as far as it is known', async (t) => {
  t.strictSame(sampling({}), { temperature: 0.7, top_p: 0.8, top_k: 20, min_p: 0 })
  t.strictSame(sampling({}, claimed), {}, 'a server keeps its defaults to itself')
  t.strictSame(sampling({ seed: 1n }, claimed), { seed: '1' }, 'and its way of sampling')
  t.strictSame(sampling({ temperature: 0 }, claimed), { temperature: 0, algo: 'greedy' })
  t.match(sampling({ temperature: 0, topK: 1 }), { temperature: 0, top_k: 1, algo: 'greedy' })
})

t.test('of a server only its claim is stated', async (t) => {
  const said = modelManifest('demo', claimed)
  t.strictSame(said, {
    v: 1,
    model: { name: 'demo', ctx: 256, claimed: true },
    engine: { name: 'upstream', settings: 'fp_1' },
  })
  const unread = modelManifest('demo', { ...info, facts: { format: 'gguf' } })
  t.strictSame(unread['model'], { name: 'demo', format: 'gguf', ctx: 256, claimed: true })
})

t.test('deterministic is said', async (t) => {
  const gpu = { ...info, facts: { ...facts, repeatable: false } }
  const greedy = { ...request, temperature: 0 }
  const alone = { ...greedy, deterministic: true }
  const says = (more: Partial<typeof ran>) => manifest({ ...ran, ...more })['deterministic']
  const byDefault = {
    ...info,
    facts: { ...facts, sampling: { ...facts.sampling, temperature: 0 } },
  }
  const cases: [string, Partial<typeof ran>, true | undefined][] = [
    ['of a greedy answer on a CPU', { request: greedy }, true],
    ['where the model is greedy by itself', { info: byDefault as BackendInfo }, true],
    [
      'not of a sampled one',
      { request: { ...request, temperature: 0.1, seed: 1n } as never },
      undefined,
    ],
    ['not where the model samples by itself', {}, undefined],
    ['not of two choices', { request: greedy, choices: [choice, choice] }, undefined],
    ['not on a GPU', { request: greedy, info: gpu }, undefined],
    ['on a GPU of one that was decoded alone', { request: alone, info: gpu }, true],
    ['never for a server', { request: alone, info: claimed }, undefined],
  ]
  for (const [name, more, expected] of cases) t.equal(says(more), expected, name)
})

t.test('the fingerprint is the short hash of what is known before a request', async (t) => {
  const text = canonical(modelManifest('demo', info))
  const of = fingerprintOf('demo', info)
  t.equal(of, `pk1-${hex(sha256(utf8(text))).slice(0, 12)}`)
  const others: BackendInfo[] = [
    { ...info, contextSize: 512 },
    { ...info, device: 'cuda: a card' },
    { ...info, fingerprint: 'fp_2' },
    { ...info, facts: { ...facts, sha256: 'e'.repeat(64) } },
    { ...info, facts: { ...facts, templateSha256: 'e'.repeat(64) } },
    claimed,
  ]
  const all = new Set([of, ...others.map((other) => fingerprintOf('demo', other))])
  t.equal(all.size, 1 + others.length, 'each changes it')
  t.equal(fingerprintOf('demo', { ...info, slots: 9 }), of, 'the number of slots does not')
})

t.test('canonical JSON', async (t) => {
  const value = { b: [1, { d: null, c: 'ü"' }], a: undefined, A: true }
  t.equal(canonical(value), '{"A":true,"b":[1,{"c":"ü\\"","d":null}]}')
  t.strictSame(JSON.parse(canonical(value)), JSON.parse(JSON.stringify(value)))
})

t.test('has no phrase that gateways take for a failure, nothing private', async (t) => {
  const wishes = { temperature: 0, topP: 1, topK: 1, minP: 0, seed: 1n, maxTokens: 1 }
  const full = { ...ran, request: { ...request, ...wishes }, logprobRoot: 'd'.repeat(64) }
  const phrases = [
    ...['supplier', 'certificate', 'error', 'forbidden', 'unauthorized', 'jsonrpc', 'pruned'],
    ...['rate limit', 'quota', 'too many', 'bad gateway', 'gateway', 'unavailable', 'not found'],
    ...['timeout', 'timed out', 'refused', 'reset', 'denied', 'invalid', 'failed', 'internal'],
    ...['api key', 'session', 'relay', 'exceeded', 'limit', 'null', 'blocked', 'missing'],
    ...['private prompt', 'somebody', 'answer'],
  ]
  for (const said of [manifest(full), manifest({ ...full, info: claimed })]) {
    const text = JSON.stringify(said).toLowerCase()
    for (const phrase of phrases) t.notOk(text.includes(phrase), phrase)
  }
})
