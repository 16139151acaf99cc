/**
 * `pokt-supplier try`: a chat with a model on this machine, and how fast it is. Nothing is staked, no node is asked
 * and no key is read. What was measured is kept for `models show` and `models recommend`. Tests: test/cli/try.ts.
 */
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { formatPokt } from '../base/units.ts'
import { isWeightsFile, OLLAMA_PREFIX, TINY_MODEL } from '../config/load.ts'
import { list } from '../gpu/drm.ts'
import type { BackendInfo } from '../inference/backend.ts'
import { deviceAdvice, readBestInput } from '../inference/llamacpp/best.ts'
import { thisPlatform } from '../inference/llamacpp/install.ts'
import { Digests, type WeightsDigest } from '../models/digest.ts'
import { income } from '../models/recommend.ts'
import { type LookAtCards, systemCards } from '../node/hardware.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { addModel } from './models-add.ts'
import { economyOf, number, type PriceOptions, withPrice } from './models-fit.ts'
import {
  libraryOf,
  type ModelsDeps,
  type ModelsSettings,
  settingsOf,
  systemModelsDeps,
} from './models-folder.ts'
import { type Answer, Chat, type Figures, figuresText, rates, together } from './try-chat.ts'
import { engineFor } from './try-engine.ts'
import { Measured } from './try-measured.ts'
import { readInput, systemTerminal, type TryTerminal } from './try-terminal.ts'
import { Watts } from './try-watts.ts'

export interface TryDeps extends ModelsDeps, TryTerminal {
  readonly cards: (context: Context) => LookAtCards
  /** What to do for a better engine than the one that runs; undefined: it is the best. */
  readonly engineAdvice: (
    context: Context,
    settings: ModelsSettings,
    engine: BackendInfo,
  ) => Promise<string | undefined>
}

interface TryOptions extends PriceOptions {
  config?: string
  data?: string
  prompt?: string
  yes?: boolean
}

/** Fewer tokens tell nothing of a speed. */
const KEPT_FROM = 16

export function systemTryDeps(): TryDeps {
  return {
    ...systemModelsDeps(),
    ...systemTerminal(),
    cards: ({ clock, environment }) => systemCards(clock, environment.session),
    async engineAdvice(context, { dataFolder }, engine) {
      const { clock, environment, signal } = context
      const { gpus } = await systemCards(clock, environment.session)(signal)
      const where = { dataFolder, platform: thisPlatform() }
      const input = await readBestInput({ list, environment: environment.engine }, gpus, where)
      return deviceAdvice(engine, input)
    },
  }
}

export function tryCommand(context: Context, deps: TryDeps = systemTryDeps()): Command {
  const command = new Command('try')
    .description('chat with a model on this machine, and see how fast it is; nothing is staked')
    .argument('<model>', 'a name of the library or the catalogue, tiny, ollama:NAME, or a file')
    .option('-c, --config <file>', 'the configuration that names the data folder')
    .option('--data <folder>', 'the data folder itself')
    .option('--prompt <text>', 'ask this, and end')
  return withPrice(command)
    .option('--yes', 'fetch a model that is not here without asking')
    .addHelpText(
      'after',
      `
It runs as start would run it. The answer goes to stdout, everything else to stderr. Ctrl-C stops an
answer; a second one, or one at the prompt, ends. Where nobody can type, the question is read from
stdin.

Examples:
  pokt-supplier try tiny --prompt "What is 17 + 25?"
  pokt-supplier try qwen3-8b
${EXIT_HELP}`,
    )
    .action((model: string, options: TryOptions) => run(context, deps, model, options))
}

async function run(
  context: Context,
  deps: TryDeps,
  model: string,
  options: TryOptions,
): Promise<void> {
  const { clock, signal, say } = context
  const settings = await settingsOf(context, options)
  const name = await present(context, deps, settings, model, options)
  const only = options.prompt ?? (context.ask === undefined ? await readInput(deps) : undefined)
  const { backend, path } = await engineFor(context, settings, name)
  const digests = new Digests({ cacheFile: join(settings.dataFolder, 'digests.json') })
  try {
    say(`loading ${model} …`)
    await backend.start(signal)
    const info = backend.info()
    if (!info.features.chat) throw new CliError('USAGE', `${model} does not chat`)
    say(`${info.model} runs on ${info.device}: ${info.slots} x ${info.contextSize} tokens`)
    const advice = await deps.engineAdvice(context, settings, info)
    if (advice !== undefined) say(advice)
    const watts = new Watts({ clock, cards: deps.cards(context) })
    const { write, think, onInterrupt } = deps
    const chat = new Chat({ clock, backend, watts, write, think, say, onInterrupt }, signal)
    let digest: Promise<WeightsDigest | undefined> | undefined
    const figures = await talk(context, chat, only, (answer) => {
      for (const line of [figuresText(answer), ...incomeLines(answer, options)]) say(line)
      // Large weights take minutes: they are read while somebody thinks of the next question.
      digest ??= digests.of(path, { signal }).catch(() => undefined)
    })
    const { sha256 } = (await digest) ?? {}
    if (sha256 !== undefined)
      await keep(context, settings, { sha256, device: info.device }, together(figures))
  } catch (error) {
    // Whoever ends a chat has had enough, and nothing failed.
    if (!signal.aborted || only !== undefined) throw error
  } finally {
    await backend.stop()
  }
}

/** What `services.backend.model` takes; fetched first where it is not here. */
async function present(
  context: Context,
  deps: TryDeps,
  settings: ModelsSettings,
  model: string,
  options: TryOptions,
): Promise<string> {
  if (model === TINY_MODEL || model.startsWith(OLLAMA_PREFIX)) return model
  const isElsewhere = /^(hf|ipfs|https?):/i.test(model)
  if (isWeightsFile(model) && !isElsewhere) return resolve(model)
  const here = await libraryOf(context, settings).list()
  if (here.has(model)) return model
  for (const [name, { catalogue, source }] of here)
    if (catalogue?.toLowerCase() === model.toLowerCase() || source === model) return name
  context.say(`${model} is not here`)
  const added = await addModel(context, deps, model, { ...options, askAlways: true })
  return added.name
}

/** One question, or as many as somebody types. */
async function talk(
  context: Context,
  chat: Chat,
  only: string | undefined,
  onAnswer: (answer: Answer) => void,
): Promise<Figures[]> {
  const all: Figures[] = []
  const ask = async (question: string) => {
    const answer = await chat.ask(question)
    if (answer === undefined) return
    all.push(answer.figures)
    onAnswer(answer)
  }
  if (only !== undefined) {
    await ask(only)
    return all
  }
  for (;;) {
    const question = await nextQuestion(context)
    if (question === undefined) return all
    if (question !== '') await ask(question)
  }
}

/** @returns undefined: that was all */
async function nextQuestion({ ask, signal }: Context): Promise<string | undefined> {
  try {
    return (await ask?.('> '))?.trim()
  } catch (error) {
    if (signal.aborted || (error instanceof CliError && error.code === 'ANSWER')) return undefined
    throw error
  }
}

function incomeLines({ figures, generation }: Answer, options: TryOptions): string[] {
  const economy = economyOf(options)
  const { decode } = rates(figures)
  if (economy === undefined || decode === undefined) return []
  const tokensPerRelay = generation.usage.completionTokens
  // One answer at a time: how much more several bring was not measured.
  const speed = { says: 'measured', decode, together: decode, prefill: 0, because: '' } as const
  const upokt = income({ ...economy, tokensPerRelay }, speed)
  return [
    `(answers like this, one at a time, would bring at most ${formatPokt(upokt)} a day at ${economy.upoktPerRelay} upokt a relay)`,
  ]
}

async function keep(
  { clock, say }: Context,
  { dataFolder }: ModelsSettings,
  where: { sha256: string; device: string },
  figures: Figures,
): Promise<void> {
  const { decode, prefill } = rates(figures)
  if (decode === undefined || figures.answerTokens < KEPT_FROM) return
  await new Measured(dataFolder).keep({
    ...where,
    decode,
    ...(prefill === undefined ? {} : { prefill }),
    tokens: figures.answerTokens,
    at: clock.now(),
  })
  say(`kept as measured: ${number(decode)} tokens/s`)
}
