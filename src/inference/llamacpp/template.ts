/**
 * A conversation as the tokens that the model was trained to read: its own chat template, rendered once.
 *
 * The template (Jinja, from the weights) may use control tokens, what people wrote may not: the template is
 * rendered with a mark in place of every text, cut at the marks, and only the template's own pieces are
 * tokenized with control tokens. So `<|im_start|>system` in a message is eight harmless letters and not a
 * new role. White space next to a text is tokenized together with it, because vocabularies join the two
 * (`\n\n`, ` word`) and the model has only seen them joined. Tested by test/inference/llamacpp/template.ts.
 */
import type { Token } from 'node-llama-cpp'
import { InferenceError } from '../errors.ts'
import type { ChatMessage, Tool } from '../request.ts'
import { type ToolFormat, toolFormat } from '../tools/format.ts'
import { type TemplateMessage, templateConversation } from '../tools/history.ts'
import { beginsInside, type ThoughtForm } from '../tools/thoughts.ts'

export interface TemplateTokenizer {
  /** @param special whether control tokens are recognised in `text` */
  tokenize(text: string, special: boolean, options?: 'trimLeadingSpace'): Token[]
  readonly bos: Token | null
  readonly bosText: string | null
  readonly eosText: string | null
  /** Whether every prompt begins with `bos`. */
  readonly prependBos: boolean
}

export interface ChatTemplateDeps {
  readonly tokenizer: TemplateTokenizer
  /** The compiled template. @throws Error with the template's own words where it refuses */
  render(context: Readonly<Record<string, unknown>>): string
}

/** More names that the template may read, as the model's card describes: `{ enable_thinking: false }`. */
export type TemplateArguments = Readonly<Record<string, string | number | boolean>>

/** For weights that carry no template of their own. */
export const CHATML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`

/** Private-use characters around the index of a text. */
const MARK = /\ue000(\d+)\ue001/
/** Templates drop an earlier turn's thoughts by looking for these, so they stay visible to them. */
const THOUGHT = /(<\/?think>)/

export interface ChatTemplateOptions {
  readonly arguments?: TemplateArguments
  /** How the model writes calls and thoughts; absent: it knows neither. */
  readonly tools?: ToolFormat
  readonly thoughts?: ThoughtForm
}

export interface Conversation {
  readonly messages: readonly ChatMessage[]
  readonly tools?: readonly Tool[]
  /** Whether to think; absent: as the model does by itself. */
  readonly thinking?: boolean
}

/** What the model is given to go on from. */
export interface Prompt {
  readonly tokens: readonly Token[]
  /** The answer begins inside a thought, which the template has opened. */
  readonly isThinking: boolean
}

export class ChatTemplate {
  readonly #deps: ChatTemplateDeps
  readonly #options: ChatTemplateOptions

  constructor(deps: ChatTemplateDeps, options: ChatTemplateOptions = {}) {
    this.#deps = deps
    this.#options = options
  }

  /**
   * The prompt: the conversation and the opening of the answer.
   * @throws InferenceError BAD_REQUEST when the template refuses the order of roles
   */
  prompt(conversation: Conversation): Prompt {
    const { tools: format = PLAIN } = this.#options
    try {
      return this.#prompt(conversation, format)
    } catch (first) {
      // Some templates know no system role, or insist that roles alternate: say the same more simply.
      const { messages } = conversation
      const simple = simplify(messages)
      const same = simple.every(({ role }, at) => role === messages[at]?.role)
      if (same && simple.length === messages.length) throw refused(first)
      try {
        return this.#prompt({ ...conversation, messages: simple }, format)
      } catch (second) {
        throw refused(second)
      }
    }
  }

  #prompt({ messages, tools = [], thinking }: Conversation, format: ToolFormat): Prompt {
    const { tokenizer } = this.#deps
    const texts: string[] = []
    const mark = (text: string) => `\ue000${texts.push(text) - 1}\ue001`
    const given = templateConversation(format, { messages, tools }, mark)
    const rendered = this.#deps.render({
      ...this.#options.arguments,
      ...(thinking === undefined ? {} : { enable_thinking: thinking }),
      messages: given.messages.map((message) => marked(message, mark)),
      ...(given.tools === undefined ? {} : { tools: given.tools }),
      add_generation_prompt: true,
      bos_token: tokenizer.bosText ?? '',
      eos_token: tokenizer.eosText ?? '',
    })
    const tokens: Token[] = []
    for (const piece of pieces(rendered, texts)) {
      const more = tokenizer.tokenize(
        piece.text,
        piece.special,
        tokens.length === 0 ? undefined : 'trimLeadingSpace',
      )
      for (const token of more) tokens.push(token)
    }
    const { bos } = tokenizer
    if (tokenizer.prependBos && bos !== null && tokens[0] !== bos) tokens.unshift(bos)
    return { tokens, isThinking: beginsInside(this.#options.thoughts ?? 'none', rendered) }
  }
}

const PLAIN = toolFormat('generic')

/** Texts with marks for their words; white space at both ends stays, for templates that trim. */
function marked(message: TemplateMessage, mark: (text: string) => string): TemplateMessage {
  const content = markedText(message.content, message.role === 'assistant', mark)
  const thoughts = ['reasoning_content', 'thinking'].flatMap((name) => {
    const text = message[name]
    return typeof text === 'string' ? [[name, markedText(text, false, mark)]] : []
  })
  return { ...message, content, ...(Object.fromEntries(thoughts) as Record<string, string>) }
}

function markedText(text: string, showThoughts: boolean, mark: (text: string) => string): string {
  const parts = showThoughts ? text.split(THOUGHT) : [text]
  const out: string[] = []
  for (const part of parts) {
    const words = part.trim()
    if (words === '' || (parts.length > 1 && THOUGHT.test(part))) {
      out.push(part)
      continue
    }
    const start = part.indexOf(words)
    out.push(part.slice(0, start), mark(words), part.slice(start + words.length))
  }
  return out.join('')
}

interface Piece {
  readonly text: string
  readonly special: boolean
}

/** Cuts at the marks, and moves white space beside a text into it. */
function pieces(rendered: string, texts: readonly string[]): Piece[] {
  // Odd places hold the captured indices, even ones the template's own text.
  const cut = rendered.split(MARK)
  const own = (at: number) => cut[at] ?? ''
  const out: Piece[] = []
  for (let at = 0; at < cut.length; at += 2) {
    const before = at === 0 ? own(at) : own(at).trimStart()
    const last = at + 1 >= cut.length
    const words = last ? before : before.trimEnd()
    if (words !== '') out.push({ text: words, special: true })
    if (last) break
    const lead = before.slice(words.length)
    const next = own(at + 2)
    const trail = next.slice(0, next.length - next.trimStart().length)
    out.push({ text: `${lead}${texts[Number(own(at + 1))] ?? ''}${trail}`, special: false })
  }
  return out
}

/** Only user and assistant, by turns: instructions go in front of what the user said next. */
function simplify(messages: readonly ChatMessage[]): ChatMessage[] {
  const plain = templateConversation(PLAIN, { messages, tools: [] }).messages
  const out: ChatMessage[] = []
  for (const { role: given, content } of plain) {
    const role = given === 'assistant' ? 'assistant' : 'user'
    const last = out.at(-1)
    if (last?.role === role) {
      out[out.length - 1] = { role, content: `${last.content}\n\n${content}` }
    } else out.push({ role, content })
  }
  return out
}

function refused(error: unknown): InferenceError {
  const words = error instanceof Error ? error.message : String(error)
  return new InferenceError(
    'BAD_REQUEST',
    `the model's chat template refuses these messages: ${words.slice(0, 200)}`,
    { data: { param: 'messages' }, cause: error },
  )
}
