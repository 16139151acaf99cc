/**
 * What is asked becomes the body of an answer, or a stream of events and the whole of it at the end.
 *
 * Tested by test/inference/inference.ts.
 */
import { hex, utf8 } from '../base/bytes.ts'
import type { Asked } from './api.ts'
import type { BackendInfo, InferenceBackend } from './backend.ts'
import {
  type Choices,
  type ChoicesAsked,
  type EventWriter,
  type Generate,
  makeChoices,
} from './choices.ts'
import type { Openings } from './commitment.ts'
import { Committer } from './committer.ts'
import { documentOf } from './documents.ts'
import { InferenceError, inferenceError } from './errors.ts'
import { checkFeatures, checkPath } from './features.ts'
import { fingerprintOf, manifest } from './manifest.ts'
import type {
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
  JsonObject,
  Usage,
} from './request.ts'
import { ChatStream, chatBody } from './write/chat.ts'
import { CompletionStream, completionBody } from './write/completion.ts'
import { errorObject } from './write/error.ts'
import { event, type Frame, padded } from './write/frame.ts'
import { embeddingBody, modelBody, modelListBody, textBody, tokensBody } from './write/others.ts'
import { ResponseStream, responseBody } from './write/responses.ts'

/** One service and one request of it. */
export interface AnswerContext {
  /** The model's public name. */
  readonly model: string
  readonly answerTokensMax?: number
  /** Whether answers say what ran. */
  readonly showManifest: boolean
  /** Files of the tokenizer, by stem. */
  readonly tokenizer?: JsonObject
  /** Hashes of these that were made before (documents.ts). */
  readonly hashes: Map<number, string>
  /** Commitments to log-probabilities; absent: answers have none. */
  readonly openings?: Openings
  readonly backend: InferenceBackend
  /** The body of the request, byte for byte. */
  readonly requestBody: Uint8Array
  /** Unix time in seconds. */
  readonly now: number
  readonly startedAt: number
  readonly signal: AbortSignal
  /** Gets a stream's events as they come. */
  readonly onEvents?: (events: string) => void
  readonly generate: Generate
  readonly embed: (request: EmbeddingRequest) => Promise<Embeddings>
  readonly randomBytes: (length: number) => Uint8Array
}

export interface Answered {
  readonly contentType: 'application/json' | 'text/event-stream'
  readonly body: Uint8Array
  readonly usage?: Usage
  /** A stream broke off after its first event. */
  readonly brokenBy?: unknown
}

/** @throws InferenceError; `signal.reason` */
export async function answerOf(asked: Asked, context: AnswerContext): Promise<Answered> {
  const { backend, model } = context
  const info = backend.info()
  switch (asked.kind) {
    case 'chat': {
      const frame = frameOf('chatcmpl', context, info)
      return await choicesAnswer(
        { requests: [asked.request], n: asked.n, bestOf: asked.n },
        {
          id: frame.id,
          whole: ({ generations, usage }, ran) =>
            chatBody(generations, usage, { ...frame, ...ran }),
          events: asked.stream ? new ChatStream(frame, asked.includeUsage) : undefined,
        },
        context,
      )
    }
    case 'completion': {
      const frame = frameOf('cmpl', context, info)
      const shown = ({ scores: _, ...rest }: Generation): Generation => rest
      return await choicesAnswer(
        asked,
        {
          id: frame.id,
          whole: ({ generations, usage }, ran) =>
            completionBody(asked.showScores ? generations : generations.map(shown), usage, {
              ...frame,
              ...ran,
            }),
          events: asked.stream ? new CompletionStream(frame, asked.includeUsage) : undefined,
        },
        context,
      )
    }
    case 'response': {
      const frame = frameOf('resp', context, info)
      return await choicesAnswer(
        { requests: [asked.request], n: 1, bestOf: 1 },
        {
          id: frame.id,
          whole: ({ generations }, ran) =>
            responseBody(only(generations), asked.echo, { ...frame, ...ran }),
          events: asked.stream ? new ResponseStream(frame, asked.echo) : undefined,
        },
        context,
      )
    }
    case 'embedding': {
      checkPath(info.features.embeddings)
      const embeddings = await context.embed(asked.request)
      const usage = { promptTokens: embeddings.promptTokens, completionTokens: 0 }
      const fingerprint = fingerprintOf(model, info)
      return { ...json(embeddingBody(embeddings, asked.encoding, { model, fingerprint })), usage }
    }
    default:
      return json(await shown(asked, context, info))
  }
}

/** What costs the engine next to nothing. */
async function shown(
  asked: Exclude<Asked, { kind: 'chat' | 'completion' | 'response' | 'embedding' }>,
  context: AnswerContext,
  info: BackendInfo,
): Promise<Uint8Array> {
  const { backend, model, signal, answerTokensMax, tokenizer, hashes } = context
  const { contextSize } = info
  const limit = answerTokensMax === undefined ? {} : { answerTokensMax }
  switch (asked.kind) {
    case 'tokenize':
      checkPath(info.features.tokenize)
      return tokensBody(await backend.tokenize(asked.of, asked.addSpecial, { signal }), contextSize)
    case 'detokenize':
      checkPath(info.features.tokenize)
      return textBody(await backend.detokenize(asked.tokens, { signal }))
    case 'document': {
      const files = tokenizer === undefined ? {} : { tokenizer }
      return padded(documentOf(asked, { model, info, hashes, ...limit, ...files }))
    }
    case 'logprobs':
      if (context.openings === undefined)
        throw new InferenceError('NOT_FOUND', 'Answers are not committed to here.')
      return padded(context.openings.open(asked.id, asked.position))
    case 'models':
    case 'model': {
      const entry = { id: model, created: context.startedAt, contextSize, ...limit }
      if (asked.kind === 'models') return modelListBody([entry])
      if (asked.id === model) return modelBody(entry)
      throw new InferenceError('NOT_FOUND', `The model here is '${model}'.`, {
        data: { param: 'model', reason: 'model_not_found' },
      })
    }
  }
}

interface Writers {
  /** Of the answer. */
  readonly id: string
  readonly whole: (choices: Choices, ran: Pick<Frame, 'manifest'>) => Uint8Array
  readonly events: EventWriter | undefined
}

async function choicesAnswer(
  asked: ChoicesAsked,
  writers: Writers,
  context: AnswerContext,
): Promise<Answered> {
  const { backend, openings, signal } = context
  for (const request of asked.requests) checkFeatures(request, backend.info().features)
  const canCommit = backend.info().features.logprobs
  const committer =
    openings && canCommit ? new Committer({ openings, generate: context.generate }) : undefined
  const generate = committer?.generate ?? context.generate
  const ranOf = ({ generations }: Choices) => {
    const root = committer?.commit(writers.id, generations)
    return manifestOf(asked.requests, generations, root, context)
  }
  if (writers.events !== undefined)
    return await streamed(asked, writers.events, ranOf, { ...context, generate })
  const choices = await makeChoices(asked, generate, signal)
  const ran = ranOf(choices)
  const body = writers.whole(choices, ran === undefined ? {} : { manifest: ran })
  return { ...json(body), usage: choices.usage }
}

/** What goes wrong before the first event is an answer of its own; after it, the last event. */
async function streamed(
  asked: ChoicesAsked,
  writer: EventWriter,
  ranOf: (choices: Choices) => JsonObject | undefined,
  context: AnswerContext,
): Promise<Answered> {
  const count = asked.requests.length * asked.n
  const sent: string[] = []
  const send = (events: string) => {
    if (events === '') return
    sent.push(events)
    context.onEvents?.(events)
  }
  let isOpen = false
  const open = () => {
    if (isOpen) return
    isOpen = true
    for (let index = 0; index < count; index++) send(writer.begin(index))
  }
  const told = (usage?: Usage): Answered => ({
    contentType: 'text/event-stream',
    body: utf8(sent.join('')),
    ...(usage === undefined ? {} : { usage }),
  })
  try {
    const choices = await makeChoices(asked, context.generate, context.signal, (index, delta) => {
      open()
      send(writer.delta(index, delta))
    })
    open()
    for (const [index, generation] of choices.generations.entries())
      send(writer.end(index, generation))
    send(writer.finish(choices.usage, ranOf(choices)))
    return told(choices.usage)
  } catch (error) {
    if (!isOpen || context.signal.aborted) throw error
    send(event(errorObject(inferenceError(error))))
    return { ...told(), brokenBy: error }
  }
}

function manifestOf(
  [request]: readonly GenerationRequest[],
  choices: readonly Generation[],
  root: string | undefined,
  { showManifest, model, backend, requestBody }: AnswerContext,
): JsonObject | undefined {
  if (!showManifest || request === undefined) return undefined
  const committed = root === undefined ? {} : { logprobRoot: root }
  return manifest({ model, info: backend.info(), request, choices, requestBody, ...committed })
}

function frameOf(prefix: string, context: AnswerContext, info: BackendInfo): Frame {
  const separator = prefix === 'resp' ? '_' : '-'
  return {
    id: `${prefix}${separator}${hex(context.randomBytes(12))}`,
    created: context.now,
    model: context.model,
    fingerprint: fingerprintOf(context.model, info),
  }
}

function only<T>(items: readonly T[]): T {
  const [item] = items
  if (item === undefined) throw new InferenceError('ENGINE_FAILED', 'the engine gave no choice')
  return item
}

function json(body: Uint8Array): Answered {
  return { contentType: 'application/json', body }
}
