import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { failureOf } from '../../src/cli/failure.ts'
import { type TryDeps, tryCommand } from '../../src/cli/try.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { type CommandOptions, command, FakeTerminal } from '../support/command.ts'
import { CPU_ONLY, RTX_3060 } from '../support/machines.ts'
import { depsOf, niceCatalogue } from '../support/models-command.ts'

const QUESTION = 'What is 17 + 25?'
const SUM = '10 + 20 = 30 and 7 + 5 = 12, so 17 + 25 = 42'

interface TryScene extends CommandOptions {
  readonly deps?: Partial<TryDeps>
  readonly input?: string
}

async function tried(words: readonly string[], { deps, input = '', ...options }: TryScene = {}) {
  const terminal = new FakeTerminal(options)
  const { context } = terminal
  let written = ''
  const all: TryDeps = {
    ...depsOf({ hardware: CPU_ONLY }),
    write: (text) => {
      written += text
    },
    think: undefined,
    onInterrupt: () => ({ [Symbol.dispose]() {} }),
    input: Readable.from(input === '' ? [] : [input]),
    cards: () => async () => ({ gpus: [], problems: [] }),
    engineAdvice: async () => undefined,
    ...deps,
  }
  let status: number = EXIT.ok
  try {
    await tryCommand(context, all).parseAsync(['node', 'try', ...words])
  } catch (error) {
    const failure = failureOf(error, { signal: context.signal, passphrase: undefined })
    status = failure.status
    for (const line of failure.lines) context.say(line)
  }
  return { status, out: written, err: terminal.said, asked: terminal.asked }
}

/** One thread, so that other tests go on. */
function config(t: Test): string[] {
  const folder = t.testdir({
    'supplier.yaml': `network: local
dataDir: data
operators: [{ keyFile: there-is-none.json }]
services: [{ id: a, backend: { kind: llamacpp, model: tiny, gpu: off, maxThreads: 1, slots: 2 } }]
`,
  })
  return ['-c', join(folder, 'supplier.yaml')]
}

t.test('one question from the command line, as it is shipped', async (t) => {
  const data = join(t.testdir(), 'not', 'made', 'yet')
  const words = ['try', 'tiny', '--prompt', QUESTION, '--data', data]
  const { status, err } = await command(words)
  t.equal(status, EXIT.ok, err)
  t.match(err, /^loading tiny …\ntiny-chat runs on \S.*: 4 x 256 tokens\n/)
  t.match(
    err,
    /\n\(\d+ tokens of answer at \d+(\.\d+)? tokens\/s; \d+ of prompt at [\d.]+ tokens\/s; first after \d+\.\d\d s/,
  )
  const { runs } = JSON.parse(await readFile(join(data, 'measured.json'), 'utf8'))
  t.match(runs, [{ sha256: /^[0-9a-f]{64}$/, device: String, decode: Number, prefill: Number }])
  t.ok(runs[0].decode > 1 && runs[0].tokens > 16)
  const shown = await command(['models', 'show', 'tiny', '--data', data])
  t.match(shown.out, /\(measured\)/, 'it is used afterwards')
  t.strictSame((await readdir(data)).sort(), ['digests.json', 'measured.json'], 'and nothing else')
})

t.test('a chat, in which Ctrl-C stops an answer, until there are no more questions', async (t) => {
  const words = ['tiny', ...config(t), '--relay-price', '150upokt', '--relays-per-day', '1000']
  let stop: (() => void) | undefined
  let out = ''
  const deps: Partial<TryDeps> = {
    onInterrupt: (on) => {
      stop ??= on
      return { [Symbol.dispose]() {} }
    },
    write: (text) => {
      if (out === '') stop?.()
      out += text
    },
  }
  const answers = ['Count from 4 to 9.', '', QUESTION, '^C']
  const { status, err, asked } = await tried(words, { answers, deps })
  t.equal(status, EXIT.ok, err)
  t.equal(out.split('\n').length, 3, 'an answer a line')
  t.match(err, /^loading tiny …\ntiny-chat runs on cpu: 2 x 256 tokens\n/, 'as the service is set')
  t.match(err, '(stopped)\n')
  t.match(err, /would bring at most 0\.15 POKT a day at 150 upokt a relay/)
  t.equal(asked.length, 4, 'it asks on')
  t.equal(err.match(/\(\d+ tokens of answer/g)?.length, 1)
})

t.test('a question that is piped in; a better engine; watts', async (t) => {
  const card: GpuSample = {
    id: 'a',
    vendor: 'nvidia',
    index: 0,
    name: 'a card',
    isShared: false,
    isAsleep: false,
    power: 120,
  }
  const deps = {
    cards: () => async () => ({ gpus: [card], problems: [] }),
    engineAdvice: async () => 'Run: pokt-supplier engine install cuda',
  }
  const { out, err } = await tried(['tiny', ...config(t)], { input: `${QUESTION}\n`, deps })
  t.equal(out, `${SUM}\n`)
  t.match(err, 'Run: pokt-supplier engine install cuda\n')
  t.match(err, /; 120 W; [\d.]+ J a token\)/)
  t.match(await tried(['tiny', ...config(t)]), {
    status: EXIT.config,
    err: /there is no question: add --prompt/,
  })
  t.match(await tried(['tiny', ...config(t)], { input: 'x'.repeat(300_000) }), {
    status: EXIT.config,
    err: /longer than 256 KiB/,
  })
})

t.test('what is not here is fetched after a question', async (t) => {
  const folder = t.testdir()
  const catalogue = await niceCatalogue(folder)
  const deps = depsOf({ hardware: RTX_3060, catalogue })
  const environment = { huggingFace: { endpoint: 'http://127.0.0.1:9', token: undefined } }
  const words = ['nice-8b', '--prompt', 'x', '--data', folder]
  const away = await tried(words, { deps, environment })
  t.match(away, { status: EXIT.failure, err: /nice-8b is not here\nSOURCE_UNREACHABLE/ })
  t.match(await tried(['no-such-model', '--data', folder], { deps }), {
    status: EXIT.config,
    err: /SOURCE_NAME/,
  })
})
