/**
 * The shapes of the OpenAI API: bodies in, completions, model lists and error objects out.
 *
 * Key order is free in JSON and matters here: gateways search the first 512 bytes of an answer for
 * phrases such as "rate limit" and take an answer that only talks about them for a failure. So what
 * describes the answer comes first and the text begins beyond those bytes. Bodies are at least 100
 * bytes long, `"error"` and `"tool_calls"` are never null, errors are objects with a status of their
 * own. Tested by test/inference/openai.ts.
 */
import { utf8 } from '../base/bytes.ts'
import type { Completion, Usage } from './backend.ts'
import { badRequest, type InferenceError } from './errors.ts'

/** Gateways look this far into an answer. */
export const SEARCHED_BYTES = 512
/** Shorter answers count as failures where a service is staked as JSON-RPC. */
export const BODY_BYTES_MIN = 100
/** Some gateways cut a body at exactly this length when they guess its type. */
const GATEWAY_CUT_BYTES = 102_400

export type JsonObject = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * The JSON object in a request's body: strict UTF-8, nothing after it.
 * @throws InferenceError BAD_REQUEST, whose message never quotes the body
 */
export function readObject(body: Uint8Array): JsonObject {
  if (body.length === 0)
    throw badRequest(undefined, 'The body is empty; a JSON object is expected.', 'invalid_json')
  const value = parse(body)
  if (!isObject(value))
    throw badRequest(undefined, 'The body is not a JSON object.', 'invalid_json')
  return value
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
  } catch {
    // The engine's own message would quote the text around the fault.
    if (body.length === GATEWAY_CUT_BYTES) {
      const text = `The body breaks off at ${GATEWAY_CUT_BYTES} bytes: a gateway on the way has cut it. Send less, or name the type of the request to the gateway.`
      throw badRequest(undefined, text, 'invalid_json')
    }
    throw badRequest(undefined, 'The body is not valid JSON in UTF-8.', 'invalid_json')
  }
}

/** What a chat completion is made of, besides the text. */
export interface CompletionFrame {
  readonly id: string
  /** Unix time in seconds. */
  readonly created: number
  /** The name under which the service offers its model, whatever the engine calls it. */
  readonly model: string
  /** What ran, as far as it is known (manifest.ts). */
  readonly manifest: JsonObject
}

/** A `chat.completion`. The text begins after the first 512 bytes. */
export function completionBody(completion: Completion, frame: CompletionFrame): Uint8Array {
  const head = {
    id: frame.id,
    object: 'chat.completion',
    created: frame.created,
    model: frame.model,
    system_fingerprint: completion.fingerprint,
    usage: usageObject(completion.usage),
    pocket: frame.manifest,
  }
  const missing = SEARCHED_BYTES - utf8(JSON.stringify(head)).length
  const pocket = missing <= 0 ? head.pocket : { ...head.pocket, pad: '0'.repeat(missing) }
  return utf8(JSON.stringify({ ...head, pocket, choices: [choice(completion)] }))
}

function usageObject(usage: Usage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
  }
}

/** Of an upstream's own choice only the fields of the standard are kept: the rest may tell who it is. */
function choice(completion: Completion): JsonObject {
  const raw = firstChoice(completion.raw)
  const message = isObject(raw?.['message']) ? raw['message'] : {}
  const reasoning = message['reasoning_content'] ?? message['reasoning']
  const reason = raw?.['finish_reason']
  return {
    index: 0,
    message: {
      role: 'assistant',
      content: completion.text,
      refusal: typeof message['refusal'] === 'string' ? message['refusal'] : null,
      // Readers look for one name or the other.
      ...(typeof reasoning === 'string' ? { reasoning, reasoning_content: reasoning } : {}),
    },
    logprobs: null,
    finish_reason: reason === 'content_filter' ? reason : completion.finishReason,
  }
}

/** The first choice of an upstream's answer, if it is an object. */
export function firstChoice(raw: unknown): JsonObject | undefined {
  const choices = isObject(raw) ? raw['choices'] : undefined
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined
  return isObject(first) ? first : undefined
}

/** One model as `GET /v1/models` shows it. */
export interface ModelEntry {
  readonly id: string
  /** Unix time in seconds. */
  readonly created: number
  readonly contextSize: number
}

export function modelBody(model: ModelEntry): Uint8Array {
  return padded(modelObject(model))
}

export function modelListBody(models: readonly ModelEntry[]): Uint8Array {
  return padded({ object: 'list', data: models.map(modelObject) })
}

function modelObject(model: ModelEntry): JsonObject {
  const { id, created, contextSize } = model
  return {
    id,
    object: 'model',
    created,
    owned_by: 'pocket',
    context_length: contextSize,
    max_model_len: contextSize,
  }
}

function padded(value: JsonObject): Uint8Array {
  const body = utf8(JSON.stringify(value))
  const missing = BODY_BYTES_MIN - body.length
  return missing <= 0 ? body : utf8(JSON.stringify({ ...value, pad: '0'.repeat(missing) }))
}

interface Reply {
  readonly status: number
  readonly type: string
  readonly code: string
  /** Where the thrower names no field. */
  readonly param?: string
  /** In place of the error's own message, which is for the operator. */
  readonly message?: string
}

const INVALID = 'invalid_request_error'
const NOT_NOW = 'The service has no capacity for this request at the moment.'
const FAILED = 'The model could not answer this request.'

const REPLIES: Readonly<Record<InferenceError['code'], Reply>> = {
  BAD_REQUEST: { status: 400, type: INVALID, code: 'invalid_value' },
  CONTEXT_LENGTH: {
    status: 400,
    type: INVALID,
    code: 'context_length_exceeded',
    param: 'messages',
  },
  NOT_FOUND: { status: 404, type: INVALID, code: 'unknown_url' },
  TOO_LARGE: { status: 413, type: INVALID, code: 'request_too_large' },
  BUSY: { status: 429, type: 'rate_limit_error', code: 'queue_full', message: NOT_NOW },
  YIELDING: { status: 429, type: 'rate_limit_error', code: 'unavailable', message: NOT_NOW },
  STOPPED: { status: 429, type: 'rate_limit_error', code: 'unavailable', message: NOT_NOW },
  ENGINE_FAILED: { status: 502, type: 'server_error', code: 'engine_failed', message: FAILED },
  ENGINE_MISSING: { status: 502, type: 'server_error', code: 'engine_failed', message: FAILED },
  MODEL_LOAD: { status: 502, type: 'server_error', code: 'engine_failed', message: FAILED },
  ENGINE_TIMEOUT: {
    status: 504,
    type: 'server_error',
    code: 'timeout',
    message: 'The model did not end within the time that this request had.',
  },
}

/** An error as the caller sees it: its status and `{"error":{message,type,param,code}}`. */
export function errorReply(error: InferenceError): { status: number; body: Uint8Array } {
  const reply = REPLIES[error.code]
  const { param, reason, status } = error.data
  const body = {
    error: {
      message: reply.message ?? error.message,
      type: reply.type,
      param: typeof param === 'string' ? param : (reply.param ?? null),
      code: typeof reason === 'string' ? reason : reply.code,
    },
  }
  return {
    status: typeof status === 'number' ? status : reply.status,
    body: utf8(JSON.stringify(body)),
  }
}
