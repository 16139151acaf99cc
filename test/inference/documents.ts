import t from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import type { BackendInfo } from '../../src/inference/backend.ts'
import { documentOf } from '../../src/inference/documents.ts'
import { ALL_FEATURES } from '../../src/inference/features.ts'
import { canonical, fingerprintOf, modelManifest } from '../../src/inference/manifest.ts'

const info: BackendInfo = {
  kind: 'llamacpp',
  model: 'inside',
  contextSize: 8192,
  slots: 1,
  device: 'cpu',
  features: ALL_FEATURES,
  fingerprint: 'fp',
  facts: { sha256: 'a'.repeat(64), build: 'b' },
}
const source = { model: 'public/name', info }
const ask = (name: 'manifest' | 'tokenizer' | 'config', isHash = false) =>
  ({ kind: 'document', name, isHash }) as const

t.test('the manifest is what every answer begins with, and its fingerprint', async (t) => {
  t.strictSame(documentOf(ask('manifest'), source), {
    ...modelManifest('public/name', info),
    system_fingerprint: fingerprintOf('public/name', info),
  })
})

t.test('the configuration is in both forms', async (t) => {
  t.strictSame(documentOf(ask('config'), { ...source, answerTokensMax: 512 }), {
    model_public_name: 'public/name',
    max_position_embeddings: '8192',
    max_tokens: '512',
    config: {
      model_name: 'public/name',
      max_position_embeddings: 8192,
      pokt_network_custom: true,
    },
  })
  t.equal(documentOf(ask('config'), source)['max_tokens'], '8192', 'without a limit the context is')
})

t.test('the tokenizer', async (t) => {
  const tokenizer = {
    tokenizer: { version: '1.0' },
    tokenizer_config: { model_max_length: 1e30, bos_token: '<s>' },
  }
  t.strictSame(
    documentOf(ask('tokenizer'), { ...source, tokenizer }),
    {
      tokenizer: { version: '1.0' },
      tokenizer_config: { model_max_length: '8192', bos_token: '<s>' },
    },
    'has a length that every reader can read',
  )
  const bare = documentOf(ask('tokenizer'), { ...source, tokenizer: { tokenizer: {} } })
  t.strictSame(bare['tokenizer_config'], { model_max_length: '8192' })
  t.throws(() => documentOf(ask('tokenizer'), source), { code: 'NOT_FOUND' })
  t.throws(() => documentOf(ask('tokenizer', true), source), { code: 'NOT_FOUND' })
})

t.test('a hash is that of the document, whatever the order of its keys', async (t) => {
  const hash = documentOf(ask('config', true), source)
  t.strictSame(hash, { hash: hex(sha256(utf8(canonical(documentOf(ask('config'), source))))) })
  const one = { tokenizer: { a: 1, b: { c: 2, d: 3 } } }
  const other = { tokenizer: { b: { d: 3, c: 2 }, a: 1 } }
  const of = (tokenizer: typeof one) => documentOf(ask('tokenizer', true), { ...source, tokenizer })
  t.strictSame(of(one), of(other))
  t.notSame(of(one), of({ tokenizer: { a: 1, b: { c: 2, d: 4 } } }))
  const hashes = new Map<number, string>()
  const kept = { ...source, tokenizer: one, hashes }
  t.strictSame(documentOf(ask('tokenizer', true), kept), of(one))
  t.strictSame([...hashes.keys()], [8192], 'and is made once for each context')
  hashes.set(8192, 'kept')
  t.strictSame(documentOf(ask('tokenizer', true), kept), { hash: 'kept' })
  t.notSame(documentOf(ask('config', true), kept), { hash: 'kept' })
  t.throws(() => documentOf(ask('tokenizer', true), { ...source, hashes: new Map() }), {
    code: 'NOT_FOUND',
  })
})
