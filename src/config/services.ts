/**
 * What is served and by which engine: the part `services` of supplier.yaml, and the owner's own port.
 *
 * Tested by test/config/load.ts and test/config/example.ts.
 */
import { z } from 'zod'
import { FEATURE_NAMES } from '../inference/features.ts'
import { EXTENSIONS } from '../inference/upstream/options.ts'
import { validServiceId } from '../protocol/session.ts'
import { STREAMING } from '../relay/rules.ts'
import { duration, httpUrl, listen, memory } from './values.ts'

const file = (what: string) => z.string().min(1).optional().describe(what)

/** Where a request says nothing; what the model's author recommends. */
const sampling = z
  .strictObject({
    temperature: z.number().min(0).max(2).default(0.8).describe('0 is greedy.'),
    topP: z.number().gt(0).max(1).default(0.95).describe('1 keeps every token.'),
    topK: z.int().min(0).default(40).describe('0 keeps every token.'),
    minP: z.number().min(0).max(1).default(0.05).describe('0 keeps every token.'),
  })
  .optional()
  .describe("Where a request says nothing. Take what the model's author recommends.")

const llamacpp = z.strictObject({
  kind: z.literal('llamacpp'),
  model: z
    .string()
    .min(1)
    .describe(
      'A name that `pokt-supplier models list` shows, or a GGUF file (a path, or `NAME.gguf`; relative paths start at the configuration file). `tiny` is the model that comes along, `ollama:NAME` one that your Ollama has, used where it lies.',
    ),
  slots: z
    .union([z.int().min(1).max(64), z.literal('auto')])
    .default('auto')
    .describe('Requests that run at the same time; auto: as many as have room beside the weights.'),
  contextSize: z
    .union([z.int().min(64).max(1_048_576), z.literal('auto')])
    .default('auto')
    .describe('Tokens for prompt and answer of one request; auto: what has room.'),
  gpu: z
    .enum(['auto', 'cuda', 'vulkan', 'metal', 'off'])
    .default('auto')
    .describe('The kind of graphics card to use.'),
  gpus: z
    .union([
      z.literal('auto'),
      z.array(z.union([z.int().min(0).max(63), z.string().min(1)])).min(1),
    ])
    .default('auto')
    .describe(
      'Which cards, by number or id as `pokt-supplier gpu` shows them; auto: those where it has room.',
    ),
  vramMax: memory
    .optional()
    .describe('Graphics memory that the engine may take; else what is free.'),
  maxThreads: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('CPU threads; by default one less than there are cores.'),
  sampling,
  chatTemplate: file("A Jinja file that replaces the weights' own chat template."),
  thinkingTokensMax: z
    .int()
    .min(0)
    .optional()
    .describe('Thoughts of one answer, unless its request bounds them itself.'),
  deterministic: z
    .enum(['off', 'exclusive'])
    .default('off')
    .describe(
      'exclusive: on a graphics card, requests at temperature 0 are decoded alone, so that their answers can be repeated.',
    ),
})

const ollama = z.strictObject({
  kind: z.literal('ollama'),
  url: httpUrl
    .optional()
    .describe('By default OLLAMA_HOST of the environment, then http://127.0.0.1:11434.'),
  model: z.string().min(1).describe('As `ollama list` shows it.'),
  slots: z
    .int()
    .min(1)
    .max(256)
    .default(4)
    .describe('Requests that it is given at the same time; as OLLAMA_NUM_PARALLEL allows there.'),
  contextSize: z
    .int()
    .min(64)
    .max(10_000_000)
    .default(8192)
    .describe('Tokens for prompt and answer of one request.'),
  pull: z
    .boolean()
    .default(false)
    .describe('Let Ollama download the model if it has not got it. It is yours: else nothing is.'),
  unload: z.boolean().default(false).describe('Take the model out of memory at a stop.'),
  digest: z
    .string()
    .regex(/^[0-9a-f]{6,64}$/, 'write the digest as `ollama list` shows it')
    .optional()
    .describe('Of the model, or its beginning; another one is refused.'),
})

const server = z.strictObject({
  url: httpUrl.describe('Base URL, such as http://127.0.0.1:8000/v1.'),
  slots: z.int().min(1).max(1024).optional().describe('Of this server; by default as all.'),
  model: z.string().min(1).optional().describe('What this server calls the model.'),
  apiKeyFile: file('A file with its bearer token, readable only by you.'),
})

const upstream = z.strictObject({
  kind: z.literal('upstream'),
  url: httpUrl
    .optional()
    .describe('Base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.'),
  servers: z
    .array(server)
    .min(1)
    .max(64)
    .optional()
    .describe('Several servers of the same model, instead of `url`.'),
  model: z.string().min(1).describe('The model name that server knows.'),
  slots: z
    .int()
    .min(1)
    .max(1024)
    .default(8)
    .describe('Requests that a server is given at the same time.'),
  contextSize: z
    .int()
    .min(64)
    .max(10_000_000)
    .default(32_768)
    .describe('Tokens for prompt and answer of one request there.'),
  apiKeyFile: file('A file with the bearer token, readable only by you.'),
  idleTimeout: duration('1s')
    .prefault('30s')
    .describe('Longest silence between two tokens, before an answer counts as broken off.'),
  tokensPerHour: z
    .int()
    .min(1)
    .optional()
    .describe('Spend cap: prompt and answer together; beyond it requests are refused.'),
  tokensPerDay: z.int().min(1).optional().describe('The same for a day.'),
  extensions: z
    .array(z.enum(EXTENSIONS))
    .optional()
    .describe('Fields outside the OpenAI API that the servers take; by default by their kind.'),
  has: z
    .array(z.enum(FEATURE_NAMES))
    .default([])
    .describe('What the servers can do; otherwise it is found out at the start.'),
  lacks: z
    .array(z.enum(FEATURE_NAMES))
    .default([])
    .describe('What they cannot, whatever they say; it is refused by name.'),
})

const service = z.strictObject({
  id: z
    .string()
    .refine(validServiceId, 'a service id has 1 to 42 letters, digits, - or _')
    .describe('The service that is staked for.'),
  modelName: z
    .string()
    .min(1)
    .optional()
    .describe('The model name shown in answers; by default that of the file.'),
  backend: z
    .discriminatedUnion('kind', [llamacpp, ollama, upstream])
    .describe('What runs the model.'),
  priority: z
    .int()
    .min(0)
    .max(100)
    .default(0)
    .describe('Where not all models fit, those of larger numbers go first and stay.'),
  yields: z
    .boolean()
    .optional()
    .describe(
      'Whether it makes room when you use the machine; by default everything does that runs on it.',
    ),
  queueMax: z
    .int()
    .min(0)
    .max(10_000)
    .default(32)
    .describe('Requests that may wait for a slot; more are answered 429.'),
  deadline: duration('1s')
    .prefault('55s')
    .describe('From a request to its answer. What would take longer is cut or refused at once.'),
  streaming: z
    .enum(STREAMING)
    .default('refuse')
    .describe(
      'Of `stream: true` in relays. refuse: a 400, since the public gateway takes events for a fault; single: all events in one answer; batched: signed frames, for callers who know them.',
    ),
  coalesce: z
    .enum(['exact', 'always', 'off'])
    .default('exact')
    .describe(
      'Equal requests at the same time share one computation: exact, where the answer is a function of the request; each is answered and paid.',
    ),
  manifest: z
    .boolean()
    .default(true)
    .describe('Say in each answer what ran: digests, sampling, hashes of request and answer.'),
  commit: z
    .boolean()
    .default(false)
    .describe(
      'Bind each answer to the log-probabilities of its tokens, so that graders can have single tokens proven (/pokt/logprobs/ID?position=N).',
    ),
  strictModel: z
    .boolean()
    .default(false)
    .describe('Refuse requests for a model of another name; graders and gateways send any name.'),
  answerTokensMax: z
    .int()
    .min(1)
    .optional()
    .describe('The longest answer; a larger wish is lowered to it.'),
  choicesMax: z
    .int()
    .min(1)
    .max(128)
    .default(8)
    .describe('Choices of one request: n, or prompts times best_of.'),
  tokenizerFolder: file(
    "The author's tokenizer files, for graders who ask for them (/pokt/tokenizer).",
  ),
})

export const services = z
  .array(service)
  .min(1)
  .describe('What is served, one entry for each staked service.')

export const local = z
  .strictObject({
    listen: listen
      .prefault('127.0.0.1:8547')
      .describe('An OpenAI-compatible port for yourself; other addresses need a key.'),
    apiKeyFile: file('A file with the key that callers must send, readable only by you.'),
    origins: z
      .array(z.string().min(1))
      .default([])
      .describe('Web pages that may call it, such as http://localhost:3000; none by default.'),
    hosts: z
      .array(z.string().min(1))
      .default([])
      .describe('Names of this machine that callers may use, beside the loopback ones.'),
  })
  .optional()
  .describe('The models for your own use, beside the relays; left out: no such port.')

export type ServiceConfig = z.output<typeof service>
export type BackendConfig = ServiceConfig['backend']
export type LlamaCppConfig = Extract<BackendConfig, { kind: 'llamacpp' }>
