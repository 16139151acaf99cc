/**
 * `pokt-supplier audit`: holds any server of the OpenAI API against a file of weights.
 * Tests: test/cli/audit.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { readSecretFile } from '../base/files.ts'
import { silentLog } from '../base/log.ts'
import { ms } from '../base/units.ts'
import { type AuditReport, audit } from '../inference/audit/audit.ts'
import { Target } from '../inference/audit/target.ts'
import { TokenIds } from '../inference/audit/tokens.ts'
import { AUDIT_LIMITS, type Mean } from '../inference/audit/verdict.ts'
import { LlamaCppBackend } from '../inference/llamacpp/host.ts'
import { showEngines, thisPlatform } from '../inference/llamacpp/install.ts'
import { LLAMACPP_DEFAULTS } from '../inference/llamacpp/options.ts'
import { Digests } from '../models/digest.ts'
import { type GgufMetadata, numberOf, readGguf, textOf } from '../models/gguf.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'

interface Options {
  model: string
  questions: number
  name?: string
  header?: Record<string, string>
  apiKeyFile?: string
  gpu: 'auto' | 'off'
  timeout: number
  data?: string
  json?: boolean
}

/** Enough for a question, its answer and the words of a template. */
const CONTEXT_SIZE = 1_024
const QUESTIONS_MAX = 1_000
/** Seconds. */
const TIMEOUT_MAX = 3_600

export function auditCommand(context: Context): Command {
  return new Command('audit')
    .description('check whether a server computes as the weights in a file do')
    .argument('<url>', 'the server, or a gateway: http://host:port/v1', httpUrl)
    .requiredOption('--model <file>', 'the weights that it should run: a GGUF file')
    .option('--questions <number>', 'how many to ask', whole(QUESTIONS_MAX), 24)
    .option('--name <name>', "the model's name there (default: the first that it lists)")
    .option(
      '--header <line>',
      'sent along, such as "Target-Service-Id: llm"; may be repeated',
      header,
    )
    .option('--api-key-file <file>', 'a key, sent as a bearer token')
    .option('--gpu <which>', 'where the file is computed here: auto or off', gpuChoice, 'auto')
    .option('--timeout <seconds>', 'for each answer', whole(TIMEOUT_MAX), 120)
    .option('--data <folder>', 'where `engine install` has put an engine')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
The questions are made up on the spot. An answer is held against the file by the mean difference
of log-probabilities over tokens that were not plain: up to ${AUDIT_LIMITS.differenceConsistent} nats is consistent, from ${AUDIT_LIMITS.differenceInconsistent} on
inconsistent, each by two standard errors; in between nothing is said. It shows what answered
these questions, and no more. Exit status: 0 consistent, 1 inconsistent, 5 where it cannot tell.

Example:
  pokt-supplier audit http://127.0.0.1:8080/v1 --model weights.gguf
${EXIT_HELP}`,
    )
    .action(async (url: string, options: Options) => {
      const report = await run(context, url, options)
      context.print(
        options.json === true ? JSON.stringify({ url, ...report }, null, 2) : asText(report),
      )
      const [why = ''] = report.reasons
      if (report.verdict === 'inconsistent') throw new CliError('AUDIT_INCONSISTENT', why)
      if (report.verdict === 'cannot tell') throw new CliError('AUDIT_UNCLEAR', why)
    })
}

async function run(context: Context, url: string, options: Options): Promise<AuditReport> {
  const { clock, random, signal } = context
  const modelPath = resolve(options.model)
  const metadata = await readGguf(modelPath, signal)
  const key = options.apiKeyFile === undefined ? '' : await readSecretFile(options.apiKeyFile)
  const headers = {
    ...options.header,
    ...(key === '' ? {} : { authorization: `Bearer ${key.trim()}` }),
  }
  const model = options.name === undefined ? {} : { model: options.name }
  const folder = await mkdtemp(join(tmpdir(), 'pokt-supplier-audit-'))
  try {
    context.say(`reading ${basename(modelPath)}`)
    const digests = new Digests({ cacheFile: join(folder, 'digests.json') })
    const { sha256 } = await digests.of(modelPath, { signal })
    await using local = await localEngine(context, { modelPath, metadata, folder, ...options })
    await using target = new Target(
      { clock, random },
      { url, headers, ...model, timeout: ms(options.timeout * 1_000) },
    )
    return await audit(
      { backend: local.backend, ids: new TokenIds(metadata), target, random },
      {
        questions: options.questions,
        sha256,
        hasTemplate: textOf(metadata, 'tokenizer.chat_template') !== undefined,
        signal,
        onProgress: (done) => {
          if (done % 8 === 0) context.say(`asked ${done} of ${options.questions}`)
        },
      },
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface LocalOptions extends Pick<Options, 'gpu' | 'data'> {
  readonly modelPath: string
  readonly metadata: GgufMetadata
  /** For what is written meanwhile. */
  readonly folder: string
}

/** Whoever takes it ends it. */
async function localEngine(
  { clock, random, environment, signal }: Context,
  { modelPath, metadata, folder, gpu, data }: LocalOptions,
): Promise<AsyncDisposable & { backend: LlamaCppBackend }> {
  const architecture = textOf(metadata, 'general.architecture') ?? ''
  const trained = numberOf(metadata, `${architecture}.context_length`) ?? CONTEXT_SIZE
  const dataFolder = data === undefined ? folder : resolve(data)
  const engines = await showEngines({ dataFolder, platform: thisPlatform() })
  const backend = new LlamaCppBackend(
    { clock, log: silentLog(), random },
    {
      ...LLAMACPP_DEFAULTS,
      model: basename(modelPath),
      modelPath,
      contextSize: Math.min(CONTEXT_SIZE, trained),
      slots: 1,
      gpu: gpu === 'off' ? false : 'auto',
      ...(engines.use === undefined ? {} : { library: engines.use.url }),
      environment: environment.engine,
      recordFile: join(folder, 'engine.json'),
    },
  )
  await backend.start(signal)
  return { backend, [Symbol.asyncDispose]: () => backend.stop() }
}

function asText({ verdict, reasons, sha256, claimed, measures }: AuditReport): string {
  const { answers, tokens, open, difference, regret, agreement, matchedPrefix } = measures
  const lines = [
    ['verdict', verdict],
    ...reasons.map((reason, at) => [at === 0 ? 'because' : '', reason]),
    ['weights', `sha256 ${sha256}`],
    ['stated', claimed === undefined ? 'nothing' : `sha256 ${claimed}`],
    ['compared', `${tokens} tokens of ${answers} answers, ${open} of them not plain`],
    ['difference', difference === undefined ? 'unknown' : nats(difference)],
    ['regret', regret === undefined ? 'unknown' : nats(regret)],
    [
      'agreement',
      `${(agreement * 100).toFixed(1)} % of the tokens are what the weights would choose`,
    ],
    ['prefix', `${matchedPrefix.toFixed(1)} tokens before the first that is not, on average`],
  ]
  return lines.map(([name = '', text = '']) => `${name.padEnd(11)}${text}`).join('\n')
}

function nats({ mean, margin }: Mean): string {
  return `${mean.toFixed(4)} ± ${margin.toFixed(4)} nats`
}

function httpUrl(text: string): string {
  if (/^https?:/.test(text) && URL.canParse(text)) return text
  throw new InvalidArgumentError('write a URL such as http://127.0.0.1:8080/v1')
}

function header(
  line: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const [, name, value] = /^([!#$%&'*+.^`|~\w-]+):\s*([\x20-\x7e]*)$/.exec(line) ?? []
  if (name === undefined || value === undefined)
    throw new InvalidArgumentError('write a header as "Name: value"')
  return { ...before, [name.toLowerCase()]: value }
}

function whole(most: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= most) return Number(text)
    throw new InvalidArgumentError(`write a whole number from 1 to ${most}`)
  }
}

function gpuChoice(text: string): 'auto' | 'off' {
  if (text === 'auto' || text === 'off') return text
  throw new InvalidArgumentError('write auto or off')
}
