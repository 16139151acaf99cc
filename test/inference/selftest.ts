import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { createLog } from '../../src/base/log.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import type { InferenceBackend } from '../../src/inference/backend.ts'
import {
  compareGolden,
  type Golden,
  goldenPath,
  makeGolden,
  readGolden,
  selfTest,
} from '../../src/inference/selftest.ts'
import { tinyBackend } from '../support/tiny-backend.ts'

const { signal } = new AbortController()

function logOf() {
  const lines: string[] = []
  return { lines, log: createLog('trace', { write: (line) => void lines.push(line) }) }
}

async function golden(): Promise<Golden> {
  const read = await readGolden(goldenPath(tinyModelPath()))
  if (read === undefined) throw new Error('the tiny model has a golden file')
  return read
}

async function started(t: Test): Promise<InferenceBackend> {
  const backend = tinyBackend(t.testdirName, { slots: 1 })
  t.teardown(() => backend.stop())
  await backend.start()
  return backend
}

t.test('the file lies beside the weights', async (t) => {
  t.equal(goldenPath('/m/a.gguf'), '/m/a.golden.json')
  t.equal(goldenPath('/m/a-00001-of-00003.gguf'), '/m/a.golden.json')
  t.equal(await readGolden(join(t.testdir(), 'none.json')), undefined)
  const { sha256: weights } = await golden()
  t.equal(weights, hex(sha256(await readFile(tinyModelPath()))))
})

t.test('a file that is not one is refused', async (t) => {
  const good = await golden()
  const [first] = good.cases
  const bad = {
    'no JSON': '{',
    'another version': JSON.stringify({ ...good, v: 2 }),
    'no case': JSON.stringify({ ...good, cases: [] }),
    'a list too short': JSON.stringify({ ...good, cases: [{ ...first, margins: [1] }] }),
    'two prompts': JSON.stringify({ ...good, cases: [{ ...first, text: 'x' }] }),
    'a positive log-probability': JSON.stringify({
      ...good,
      cases: [{ chat: 'x', tokens: ['61'], logprobs: [1], margins: [0] }],
    }),
  }
  for (const [name, text] of Object.entries(bad)) {
    const path = join(t.testdir({ 'a.golden.json': text }), 'a.golden.json')
    await t.rejects(readGolden(path), { code: 'MODEL_LOAD' }, name)
  }
})

t.test('the tiny model', async (t) => {
  t.testdir()
  const backend = await started(t)
  const good = await golden()
  const modelPath = tinyModelPath()

  await t.test('passes its own', async (t) => {
    const { lines, log } = logOf()
    const result = await selfTest({ backend, log }, { modelPath, sha256: good.sha256, signal })
    const tokens = good.cases.reduce((sum, one) => sum + one.tokens.length, 0)
    t.strictSame(result, { state: 'passed', cases: 6, tokens, differences: [] })
    t.match(lines, [/"level":"info".*self-test passed/])
  })

  await t.test('makes it again', async (t) => {
    const prompts = good.cases.map(({ chat, text }) =>
      chat === undefined ? { text: text ?? '' } : { chat },
    )
    const made = await makeGolden(backend, prompts, {
      sha256: good.sha256,
      tokensMax: 24,
      signal,
    })
    t.strictSame(
      made.cases.map(({ chat, text, tokens }) => ({ chat, text, tokens })),
      good.cases.map(({ chat, text, tokens }) => ({ chat, text, tokens })),
    )
    t.equal(made.tolerance, good.tolerance)
    for (const [at, { logprobs, margins }] of made.cases.entries()) {
      for (const [position, logprob] of logprobs.entries()) {
        const there = good.cases[at]
        t.ok(Math.abs(logprob - (there?.logprobs[position] ?? 9)) < 0.05, `${at} ${position}`)
        t.ok(Math.abs((margins[position] ?? 9) - (there?.margins[position] ?? 0)) < 0.5)
      }
    }
  })

  await t.test('fails one of other answers, loudly and without a word of them', async (t) => {
    const [first, ...rest] = good.cases
    if (first === undefined) throw new Error('there is a case')
    const wrong = {
      ...good,
      cases: [{ ...first, tokens: [hex(utf8('9')), ...first.tokens.slice(1)] }, ...rest],
    }
    const path = join(t.testdir({ 'a.golden.json': JSON.stringify(wrong) }), 'a.gguf')
    const { lines, log } = logOf()
    const options = { modelPath: path, sha256: good.sha256, signal }
    const result = await selfTest({ backend, log }, options)
    t.match(result, {
      state: 'failed',
      differences: [{ of: 0, position: 0, what: 'token', by: first.margins[0] }],
    })
    t.match(lines, [/"level":"error".*SELF-TEST FAILED/])
    t.notMatch(lines.join(''), /17 \+ 25/)
  })

  await t.test('is told apart by its numbers, within the tolerance', async (t) => {
    const shifted = (by: number, margin: number) => ({
      ...good,
      cases: good.cases.map((one) => ({
        ...one,
        logprobs: one.logprobs.map((logprob) => logprob - by),
        margins: one.margins.map(() => margin),
      })),
    })
    t.equal((await compareGolden(backend, shifted(0.2, 9), signal)).state, 'passed')
    const far = await compareGolden(backend, shifted(0.3, 9), signal)
    t.match(far, { state: 'failed', differences: [{ what: 'logprob' }] })
    t.equal(far.differences.length, far.tokens)
    const close = {
      ...good,
      cases: [{ chat: 'Who are you?', tokens: ['00', '00'], logprobs: [0, 0], margins: [0.5, 9] }],
    }
    t.match(
      await compareGolden(backend, close, signal),
      { state: 'passed', tokens: 0 },
      'another token where two were close, and nothing after it',
    )
    const longer = {
      ...good,
      cases: [{ ...close.cases[0], tokens: Array(64).fill('00'), margins: Array(64).fill(0) }],
    }
    t.equal((await compareGolden(backend, longer as Golden, signal)).state, 'passed')
  })

  await t.test('an answer that ends too early, or fails, is a difference', async (t) => {
    const [first] = good.cases
    const long = {
      ...good,
      cases: [
        {
          chat: 'What is the capital of Japan?',
          tokens: [...(good.cases[1]?.tokens ?? []), '61'],
          logprobs: [...(good.cases[1]?.logprobs ?? []), 0],
          margins: [...(good.cases[1]?.margins ?? []), 9],
        },
        { ...first, chat: 'long '.repeat(500) },
      ],
    }
    const { differences } = await compareGolden(backend, long as Golden, signal)
    t.strictSame(differences, [
      { of: 0, position: 13, what: 'end', by: 9 },
      { of: 1, position: 0, what: 'failed' },
    ])
  })

  await t.test('is served without one', async (t) => {
    const absent = { state: 'absent', cases: 0, tokens: 0, differences: [] }
    const files = { 'bad.golden.json': '{', 'other.golden.json': JSON.stringify(good) }
    const folder = t.testdir(files)
    for (const [name, warning] of [
      ['none', []],
      ['bad', [/"level":"warn".*not readable/]],
      ['other', [/"level":"warn".*other weights/]],
    ] as const) {
      const { lines, log } = logOf()
      const options = { modelPath: join(folder, `${name}.gguf`), sha256: 'a'.repeat(64), signal }
      t.strictSame(await selfTest({ backend, log }, options), absent, name)
      t.match(lines, warning, name)
      t.equal(lines.length, warning.length, name)
    }
  })

  await t.test('an abort is thrown', async (t) => {
    const reason = new Error('gone')
    await t.rejects(compareGolden(backend, good, AbortSignal.abort(reason)), reason)
  })
})
