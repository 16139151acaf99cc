import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { parseConfig } from '../../src/config/load.ts'
import { authorOf } from '../../src/node/author.ts'

const FAMILY = `family: thinker
title: Thinker
author: Somebody
kinds: [reasoning]
licence: { id: MIT, url: 'https://example.org/licence', commercial: 'yes' }
context: 4096
sampling:
  plain: { temperature: 0.7, topP: 0.8 }
  thinking: { temperature: 0.6, topP: 0.95, topK: 20 }
thinking: optional
thinkingTokensMax: 700
tools: false
models:
  - name: thinker-1b
    parameters: 1e9
    default: Q8_0
    variants:
      - { quantisation: Q8_0, source: 'hf:some/body/thinker.gguf' }
sources: ['https://example.org/card']
`

function authored(t: Test, model: string, library: Record<string, unknown> = {}) {
  const folder = t.testdir({
    own: { 'thinker.yaml': FAMILY },
    data: {
      models: { 'models.lock.json': JSON.stringify({ version: 1, models: library }) },
    },
  })
  const text = `{ network: local, dataDir: data, models: { catalogue: own }, operators: [{ keyFile: a }], services: [{ id: s, backend: { kind: llamacpp, model: tiny } }] }`
  const config = parseConfig(text, folder)
  const deps = { clock: systemClock } as never
  return authorOf({ config, deps }, { model })
}

const ENTRY = {
  source: 'hf:some/body/thinker.gguf',
  files: [{ fileName: 'm.gguf', sha256: 'ab'.repeat(32), bytes: 1 }],
  addedAt: 0,
}

t.test('a model of the catalogue is used as its author recommends', async (t) => {
  const recommended = {
    defaults: { temperature: 0.6, topP: 0.95, topK: 20, minP: 0 },
    thinkingTokensMax: 700,
  }
  t.strictSame(await authored(t, 'thinker-1b', { 'thinker-1b': ENTRY }), recommended)
  const renamed = { mine: { ...ENTRY, catalogue: 'thinker-1b:Q8_0' } }
  t.strictSame(await authored(t, 'mine', renamed), recommended, 'under another name too')
})

t.test('of others nothing is known', async (t) => {
  for (const model of ['tiny', 'ollama:thinker-1b', './thinker-1b.gguf', 'unknown'])
    t.strictSame(await authored(t, model, { unknown: ENTRY }), {}, model)
})
