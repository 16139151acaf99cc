import t from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import type { BackendInfo, ChatRequest } from '../../src/inference/backend.ts'
import { manifest } from '../../src/inference/manifest.ts'

const info: BackendInfo = {
  kind: 'llamacpp',
  model: '/home/somebody/weights.gguf',
  contextSize: 256,
  slots: 2,
  device: 'a graphics card',
}
const request: ChatRequest = {
  messages: [{ role: 'user', content: 'a private prompt' }],
  stop: [],
  body: {},
}
const completion = {
  text: 'answer',
  finishReason: 'stop' as const,
  usage: { promptTokens: 1, completionTokens: 1 },
  fingerprint: 'f',
}
const ran = { model: 'demo', info, request, completion, requestBody: utf8('{"a":1}') }

t.test('says what ran and hashes what was said', async (t) => {
  const full = { ...request, temperature: 0, topP: 0.9, seed: 0, maxTokens: 8 }
  t.strictSame(manifest({ ...ran, request: full }), {
    v: 1,
    model: { name: 'demo', ctx: 256 },
    engine: { name: 'llamacpp' },
    sampling: { temperature: 0, top_p: 0.9, seed: 0, max_tokens: 8 },
    req_sha256: hex(sha256(utf8('{"a":1}'))),
    out_sha256: hex(sha256(utf8('answer'))),
  })
})

t.test('says nothing that the request left open', async (t) => {
  t.strictSame(manifest(ran)['sampling'], {})
})

t.test('says of an upstream that its model is only claimed', async (t) => {
  const upstream = manifest({ ...ran, info: { ...info, kind: 'upstream' } })
  t.strictSame(upstream['model'], { name: 'demo', ctx: 256, claimed: true })
})

t.test('has no phrase that gateways take for a failure, nothing private', async (t) => {
  const text = JSON.stringify(manifest(ran)).toLowerCase()
  const phrases = ['supplier', 'certificate', 'error', 'forbidden', 'unauthorized', 'jsonrpc']
  for (const phrase of [...phrases, 'rate limit', 'private prompt', 'somebody', 'graphics'])
    t.notOk(text.includes(phrase), phrase)
})
