/**
 * What upstreams can do, found out by asking: a feature is there when its answer shows it.
 *
 * Servers take fields that they do not know without a word, so that an answer alone proves nothing: an
 * echo must begin with its prompt, a forced call must be a call, a bias must change the text. Each request
 * costs a few tokens. Tested by test/inference/upstream/backend.ts.
 */
import { InferenceError } from '../errors.ts'
import type {
  ChatRequest,
  CompletionRequest,
  Features,
  Generation,
  GenerationRequest,
} from '../request.ts'

export interface Prober {
  generate(request: GenerationRequest): Promise<Generation>
  embeds(): Promise<boolean>
  tokens(text: string): Promise<readonly number[]>
  text(tokens: readonly number[]): Promise<string>
}

const CHAT: ChatRequest = {
  kind: 'chat',
  messages: [{ role: 'user', content: 'Say hello.' }],
  tools: [],
  toolChoice: 'none',
  parallelToolCalls: true,
  format: { kind: 'text' },
  temperature: 0,
  maxTokens: 4,
  stop: [],
}

const WORDS = 'One, two, three'

const TEXT: CompletionRequest = {
  kind: 'completion',
  prompt: WORDS,
  echo: false,
  temperature: 0,
  maxTokens: 4,
  stop: [],
}

const TOOL = {
  name: 'note',
  description: 'Writes a word down.',
  parameters: {
    type: 'object',
    properties: { word: { type: 'string', maxLength: 8 } },
    required: ['word'],
  },
}
/** Enough for a call or a short object, and for the thoughts of some models before it. */
const LONG = 256
/** Tokens that every vocabulary has, and two that any larger one has. */
const USUAL = [10, 11, 12]
const BIASED = [1_000, 2_000] as const

type Probe = (prober: Prober, found: Partial<Features>) => Promise<boolean>

const chats: Probe = async (_, { chat }) => chat === true
/** In order: later ones look at what the earlier ones found. */
const PROBES: readonly (readonly [keyof Features, Probe])[] = [
  ['tokenize', async ({ tokens, text }) => (await text(await tokens(WORDS))) === WORDS],
  ['chat', async ({ generate }) => hasWords(await generate(CHAT))],
  ['completions', async ({ generate }) => hasWords(await generate(TEXT))],
  [
    'tokenPrompts',
    async ({ generate, tokens }, { completions, tokenize }) => {
      if (completions !== true) return false
      const prompt = tokenize === true ? await tokens(WORDS) : USUAL
      return hasWords(await generate({ ...TEXT, prompt }))
    },
  ],
  [
    'echo',
    async ({ generate }, { completions }) => {
      if (completions !== true) return false
      const { text, scores } = await generate({ ...TEXT, echo: true, topLogprobs: 0 })
      return text.startsWith(WORDS) && scores?.[0]?.logprob === null
    },
  ],
  [
    'logprobs',
    async ({ generate }, { chat, completions }) => {
      const asked = [...(chat === true ? [CHAT] : []), ...(completions === true ? [TEXT] : [])]
      for (const request of asked) await generate({ ...request, topLogprobs: 2 })
      return asked.length > 0
    },
  ],
  [
    'logitBias',
    async ({ generate }, { chat }) => {
      if (chat !== true) return false
      const [a, b] = await Promise.all(
        BIASED.map((token) => generate({ ...CHAT, logitBias: new Map([[token, 100]]) })),
      )
      return wordsOf(a) !== wordsOf(b)
    },
  ],
  [
    'tools',
    async (prober, found) => {
      if (!(await chats(prober, found))) return false
      await prober.generate({ ...CHAT, tools: [TOOL], toolChoice: 'auto', maxTokens: LONG })
      return true
    },
  ],
  [
    'forcedTools',
    async ({ generate }, { tools }) => {
      if (tools !== true) return false
      const forced = { ...CHAT, tools: [TOOL], maxTokens: LONG }
      const answers = await Promise.all([
        generate({ ...forced, toolChoice: 'required' }),
        generate({ ...forced, toolChoice: { name: TOOL.name } }),
      ])
      return answers.every(({ toolCalls }) => toolCalls.length > 0)
    },
  ],
  [
    'jsonObject',
    async ({ generate }, { chat }) =>
      chat === true &&
      isWhole(await generate({ ...CHAT, format: { kind: 'json' }, maxTokens: LONG })),
  ],
  [
    'jsonSchema',
    async ({ generate }, { chat }) => {
      const format = { kind: 'schema', name: 'note', schema: TOOL.parameters } as const
      if (chat !== true) return false
      const answer = await generate({ ...CHAT, format, maxTokens: LONG })
      return isWhole(answer) && answer.text.includes('"word"')
    },
  ],
  [
    'thinking',
    async ({ generate }, { chat }) => {
      if (chat !== true) return false
      const { reasoning } = await generate({ ...CHAT, thinking: { enabled: true }, maxTokens: 32 })
      return (reasoning ?? '') !== ''
    },
  ],
  ['embeddings', ({ embeds }) => embeds()],
]

/**
 * @param known what is configured and not asked about. @throws InferenceError BUSY, ENGINE_FAILED,
 *   `signal.reason`: an upstream without room, or in trouble, says nothing about its features
 */
export async function probeFeatures(
  prober: Prober,
  known: Partial<Features>,
): Promise<Partial<Features>> {
  const found: Partial<Record<keyof Features, boolean>> = { suffix: false, ...known }
  for (const [feature, probe] of PROBES) {
    if (known[feature] !== undefined) continue
    try {
      found[feature] = await probe(prober, found)
    } catch (error) {
      const isAnswer = error instanceof InferenceError && error.code !== 'BUSY'
      if (!isAnswer || error.code === 'STOPPED') throw error
      if (feature === 'chat' && isInTrouble(error)) throw error
      found[feature] = false
    }
  }
  return found
}

/** 501 is an answer: servers of embeddings give it. */
function isInTrouble({ retryable, data }: InferenceError): boolean {
  return retryable && data['upstreamStatus'] !== 501
}

function hasWords(answer: Generation): boolean {
  return wordsOf(answer) !== '' && answer.usage.completionTokens > 0
}

function wordsOf(answer: Generation | undefined): string {
  return `${answer?.reasoning ?? ''}${answer?.text ?? ''}`
}

/** Its JSON was checked; one that was cut off shows at least how it begins. */
function isWhole({ text, finishReason }: Generation): boolean {
  return finishReason !== 'length' || text.trimStart().startsWith('{')
}
