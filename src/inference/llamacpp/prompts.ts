/**
 * What of the model's own is needed to read a request and to show its answer: template, vocabulary, the
 * ways in which it writes calls and thoughts.
 *
 * Tested against the tiny model by test/inference/llamacpp/model.ts.
 */
import type { LlamaModel, Token } from 'node-llama-cpp'
import { hex, sha256, utf8 } from '../../base/bytes.ts'
import { badRequest, InferenceError } from '../errors.ts'
import { toolCallGrammar } from '../grammar.ts'
import { GrammarState } from '../grammar-state.ts'
import type { ChatMessage, Delta, Tool, ToolChoice } from '../request.ts'
import { ToolStream } from '../tools/calls.ts'
import type { ToolFormat } from '../tools/format.ts'
import { provenFormat } from '../tools/history.ts'
import {
  type ThoughtForm,
  thoughtFormOf,
  thoughtMarkers,
  thoughtStream,
} from '../tools/thoughts.ts'
import { AnswerStream } from './answer.ts'
import { Display } from './display.ts'
import { EitherState } from './either.ts'
import type { Library } from './library.ts'
import type { Constraint } from './picker.ts'
import { CHATML, ChatTemplate, type TemplateArguments } from './template.ts'
import { Vocabulary } from './vocabulary.ts'
import type { GenerateMessage } from './wire.ts'

type ChatPrompt = Extract<GenerateMessage['prompt'], { kind: 'chat' }>
type CallChoice = Exclude<ToolChoice, 'auto' | 'none'>

export interface Read {
  readonly tokens: readonly Token[]
  /** The answer begins inside a thought. */
  readonly isThinking: boolean
}

export interface PromptOptions {
  /** Replaces the weights' own. */
  readonly chatTemplate?: string | undefined
  readonly templateArguments?: TemplateArguments | undefined
}

export class Prompts {
  readonly vocabulary: Vocabulary
  readonly display: Display
  readonly thoughts: ThoughtForm
  readonly templateSha256: string
  readonly tokenizerSha256: string
  readonly #model: LlamaModel
  readonly #tools: ToolFormat
  readonly #template: ChatTemplate

  /** @throws InferenceError MODEL_LOAD for a template that can't even render a greeting */
  constructor(library: Library, model: LlamaModel, options: PromptOptions) {
    const tokenizer = model.fileInfo.metadata.tokenizer
    const source = options.chatTemplate ?? tokenizer?.chat_template ?? CHATML
    this.#model = model
    const render = compiledTemplate(library, source)
    this.#tools = provenFormat(source, render)
    this.thoughts = thoughtFormOf(source)
    const { ggml } = tokenizer ?? {}
    const names = (ggml?.tokens ?? []) as readonly string[]
    const types = (ggml?.token_type ?? []) as readonly number[]
    const markers = new Set([...this.#tools.markers, ...thoughtMarkers(this.thoughts)])
    const isShown = (name: string, token: number) => types[token] === 3 && markers.has(name)
    const shown = new Set(names.flatMap((name, token) => (isShown(name, token) ? [token] : [])))
    const kind = String(ggml?.model ?? '')
    this.vocabulary = new Vocabulary({
      kind,
      tokens: names,
      // What is shown of a control token is text to a grammar, too.
      types: types.map((type, token) => (shown.has(token) ? 4 : type)),
      text: (token) => model.detokenize([token as Token], true),
      isEnd: (token) => model.isEogToken(token as Token),
    })
    this.display = new Display({
      vocabulary: this.vocabulary,
      bos: model.tokens.bos,
      addsSpace: kind === 'llama' && ggml?.add_space_prefix !== false,
    })
    this.templateSha256 = hex(sha256(utf8(source)))
    this.tokenizerSha256 = hex(
      sha256(utf8(JSON.stringify([ggml?.model, ggml?.pre, names, ggml?.merges ?? ggml?.scores]))),
    )
    this.#template = openTemplate(render, model, {
      arguments: options.templateArguments ?? {},
      tools: this.#tools,
      thoughts: this.thoughts,
    })
  }

  /** One that any model knows. */
  get anyToken(): Token {
    return this.#model.tokens.bos ?? (0 as Token)
  }

  /** The model can be given a gap to fill. */
  get canInfill(): boolean {
    return this.#model.tokens.infill.prefix !== null && this.#model.tokens.infill.suffix !== null
  }

  /**
   * @param isHeld the answer is held to a format: a model that may think first does so only if it is told to
   * @throws InferenceError BAD_REQUEST: the template refuses, or no such token
   */
  read(prompt: GenerateMessage['prompt'], isHeld: boolean): Read {
    switch (prompt.kind) {
      case 'chat':
        return this.#chat(prompt, isHeld)
      case 'tokens':
        return { tokens: this.known(prompt.tokens, 'prompt'), isThinking: false }
      case 'text':
        return { tokens: this.#text(prompt.text, prompt.suffix), isThinking: false }
    }
  }

  /** A conversation as the template writes it, with the opening of the answer. */
  conversation(messages: readonly ChatMessage[]): readonly Token[] {
    return this.#template.prompt({ messages }).tokens
  }

  /** Ids as tokens. @throws InferenceError BAD_REQUEST */
  known(ids: readonly number[], param: string): Token[] {
    const at = ids.findIndex((id) => id >= this.vocabulary.size)
    if (at === -1) return [...ids] as Token[]
    throw badRequest(
      `${param}[${at}]`,
      `The model has ${this.vocabulary.size} tokens; '${param}[${at}]' is none of them.`,
    )
  }

  /** @throws InferenceError BAD_REQUEST: the model has no such token */
  checkBias(bias: ReadonlyMap<number, number>): void {
    const beyond = [...bias.keys()].find((id) => id >= this.vocabulary.size)
    if (beyond === undefined) return
    const param = `logit_bias.${beyond}`
    throw badRequest(
      param,
      `The model has ${this.vocabulary.size} tokens; '${param}' is none of them.`,
    )
  }

  /** Tokens of plain text. @param addSpecial begin with the model's own first token, if it has one */
  tokensOf(text: string, addSpecial: boolean): Token[] {
    const tokens = this.#model.tokenize(text, false)
    const { bos } = this.#model.tokens
    return addSpecial && this.#model.tokens.shouldPrependBosToken && bos !== null
      ? [bos, ...tokens]
      : tokens
  }

  /** What ends a thought in the text; empty where nothing does. */
  get thoughtEnd(): string {
    return this.thoughts === 'channels' ? '' : (thoughtMarkers(this.thoughts)[1] ?? '')
  }

  /** Tokens that end a thought, whatever the model thinks. */
  get endOfThought(): Token[] {
    const close = this.thoughtEnd
    return close === '' ? [] : this.#model.tokenize(`\n${close}\n\n`, true, 'trimLeadingSpace')
  }

  /** What holds an answer to its grammar, to calls where these are forced, or to either; thoughts are free. */
  constraintOf({ prompt, grammar }: GenerateMessage): Constraint | undefined {
    const held = grammar === undefined ? undefined : new GrammarState(grammar)
    if (prompt.kind !== 'chat' || prompt.toolChoice === 'none') return held
    const { toolChoice } = prompt
    if (toolChoice !== 'auto') return this.#calls(prompt, toolChoice)
    // Behind a header of channels (`#channel`) no call can be made.
    const canCall = prompt.tools.length > 0 && this.thoughts !== 'channels'
    return held !== undefined && canCall
      ? new EitherState([held, this.#calls(prompt, 'required')])
      : held
  }

  #calls({ tools, parallelToolCalls }: ChatPrompt, choice: CallChoice): GrammarState {
    return new GrammarState(
      toolCallGrammar(this.#tools, tools as readonly Tool[], choice, parallelToolCalls),
    )
  }

  answerOf(
    { prompt, stop }: GenerateMessage,
    { tokens, isThinking }: Read,
    deps: { random: () => number; onDelta: (delta: Delta) => void },
  ): AnswerStream {
    const isChat = prompt.kind === 'chat'
    // A chat's answer is a text of its own, a completion goes on from the prompt.
    const beginsText = isChat || this.display.isSilent(tokens)
    const hasTools = isChat && prompt.tools.length > 0 && prompt.toolChoice !== 'none'
    return new AnswerStream({
      output: this.display.answerText(stop, beginsText),
      thoughts: thoughtStream(isChat ? this.thoughts : 'none', isThinking),
      calls: hasTools
        ? new ToolStream(deps, {
            format: this.#tools,
            tools: prompt.tools as readonly Tool[],
            parallel: prompt.parallelToolCalls,
          })
        : undefined,
      beginsText,
      onDelta: deps.onDelta,
    })
  }

  #chat(prompt: ChatPrompt, isHeld: boolean): Read {
    const { messages, toolChoice, tools } = prompt
    const { tokensMax } = prompt.thinking ?? {}
    const mayThink = tokensMax === 0 ? false : prompt.thinking?.enabled
    const thinking = mayThink ?? (isHeld ? false : undefined)
    const read = this.#template.prompt({
      messages,
      tools: toolChoice === 'none' ? [] : (tools as readonly Tool[]),
      ...(thinking === undefined ? {} : { thinking }),
    })
    if (this.thoughts === 'channels') return isHeld ? this.#channel(read, toolChoice) : read
    const { tokens } = read
    // Some templates open a thought whatever they are told, others leave it to the model.
    if (read.isThinking && thinking === false)
      return { tokens: [...tokens, ...this.endOfThought], isThinking: false }
    if (!read.isThinking && thinking === true && isHeld && this.thoughts !== 'none') {
      const [open = ''] = thoughtMarkers(this.thoughts)
      return { tokens: [...tokens, ...this.#model.tokenize(`${open}\n`, true)], isThinking: true }
    }
    return read
  }

  /** Nothing but the format may be written, so the header is written here. */
  #channel(read: Read, toolChoice: ChatPrompt['toolChoice']): Read {
    if (toolChoice !== 'none' && toolChoice !== 'auto') return read
    const header = this.#model.tokenize('<|channel|>final<|message|>', true)
    return { ...read, tokens: [...read.tokens, ...header] }
  }

  #text(text: string, suffix: string | undefined): Token[] {
    const { infill, bos, shouldPrependBosToken } = this.#model.tokens
    if (suffix === undefined) return this.tokensOf(text, true)
    const { prefix, suffix: gap, middle } = infill
    if (prefix === null || gap === null)
      throw badRequest(
        'suffix',
        'The model has no tokens for a gap in a text.',
        'unsupported_parameter',
      )
    const begin = shouldPrependBosToken && bos !== null ? [bos] : []
    const before = this.#model.tokenize(text, false)
    const after = this.#model.tokenize(suffix, false, 'trimLeadingSpace')
    return [...begin, prefix, ...before, gap, ...after, ...(middle === null ? [] : [middle])]
  }
}

type Render = (context: Record<string, unknown>) => string

function compiledTemplate(library: Library, source: string): Render {
  try {
    const compiled = library.compileTemplate(source)
    return (context) => compiled.render(context)
  } catch (error) {
    throw brokenTemplate(error)
  }
}

function openTemplate(
  render: Render,
  model: LlamaModel,
  options: ConstructorParameters<typeof ChatTemplate>[1],
): ChatTemplate {
  const { tokens } = model
  const tokenizer = {
    tokenize: (words: string, special: boolean, trim?: 'trimLeadingSpace') =>
      model.tokenize(words, special, trim),
    bos: tokens.bos,
    bosText: tokens.bosString,
    eosText: tokens.eosString,
    prependBos: tokens.shouldPrependBosToken,
  }
  const template = new ChatTemplate({ render, tokenizer }, options)
  try {
    template.prompt({ messages: [{ role: 'user', content: 'Hello' }] })
    return template
  } catch (error) {
    throw brokenTemplate(error)
  }
}

function brokenTemplate(cause: unknown): InferenceError {
  const words = cause instanceof Error ? cause.message : String(cause)
  const told = `the chat template does not work: ${words.slice(0, 500)}`
  return new InferenceError('MODEL_LOAD', told, { cause })
}
