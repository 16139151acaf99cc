/** A server with Ollama's own API that can be told to misbehave. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { utf8 } from '../../src/base/bytes.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import type {
  ChatRequest,
  CompletionRequest,
  Delta,
  GenerationRequest,
  JsonObject,
  TokenAlternative,
} from '../../src/inference/request.ts'
import { EchoVocabulary, echo, echoVectors } from './echo-model.ts'
import type { Behaviour, Received } from './upstream.ts'

export interface FakeOllamaOptions {
  readonly version: string
  readonly models: readonly string[]
  readonly capabilities: readonly string[]
  readonly template: string
  /** Of the model; a request's `num_ctx` is the smaller one. */
  readonly contextSize: number
  /** Bytes of a piece on the wire; 0: as they come. */
  readonly chunkBytes: number
  /** An older one, which cuts prompts whatever it is told. */
  readonly cutsPrompts: boolean
}

export const DIGEST = 'ab'.repeat(32)

type Handler = (response: ServerResponse, body: JsonObject) => void

export class FakeOllama {
  readonly received: (Received & { readonly json: JsonObject })[] = []
  /** Of chats and completions with a prompt only. */
  behave: Behaviour | undefined
  readonly #server: Server
  readonly #options: FakeOllamaOptions
  readonly #vocabulary = new EchoVocabulary()
  readonly #models: string[]
  readonly #loaded = new Set<string>()
  #waiting: (() => void)[] = []

  constructor(options: Partial<FakeOllamaOptions> = {}) {
    this.#options = {
      version: '0.12.11',
      models: ['echo:latest'],
      capabilities: ['completion', 'tools', 'thinking', 'embedding', 'insert'],
      template: '{{ .Prompt }}',
      contextSize: 256,
      chunkBytes: 0,
      cutsPrompts: false,
      ...options,
    }
    this.#models = [...this.#options.models]
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get loaded(): readonly string[] {
    return [...this.#loaded]
  }

  paths(): string[] {
    return this.received.map(({ method, path }) => `${method} ${path}`)
  }

  /** Resolves with the next request for words. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method = '', url = '', headers } = request
    const text = Buffer.concat(chunks).toString()
    const json = (text === '' ? {} : JSON.parse(text)) as JsonObject
    const received = { method, path: url, headers, body: text }
    this.received.push({ ...received, json })
    const handlers: Record<string, Handler> = {
      'GET /api/version': (to) => send(to, { version: this.#options.version }),
      'GET /api/tags': (to) => send(to, { models: this.#models.map(described) }),
      'GET /api/ps': (to) =>
        send(to, {
          models: this.loaded.map((name) => ({ ...described(name), size: 100, size_vram: 25 })),
        }),
      'POST /api/show': (to, body) => this.#show(to, body),
      'POST /api/pull': (to, body) => this.#pull(to, body),
      'POST /api/embed': (to, body) => this.#embed(to, body),
      'POST /api/chat': (to, body) => this.#say(to, body, chatOf(body), received),
      'POST /api/generate': (to, body) => this.#say(to, body, completionOf(body), received),
    }
    const handler = handlers[`${method} ${url}`]
    if (handler === undefined) return void response.writeHead(404).end('404 page not found')
    const { model } = json
    const isKnown = method === 'GET' || url === '/api/pull' || this.#models.includes(full(model))
    if (isKnown) handler(response, json)
    else send(response, { error: `model '${String(model)}' not found` }, 404)
  }

  #show(response: ServerResponse, _body: JsonObject): void {
    const { capabilities, template, contextSize } = this.#options
    send(response, {
      license: 'none',
      template,
      details: described('').details,
      model_info: { 'general.architecture': 'echo', 'echo.context_length': contextSize },
      capabilities,
    })
  }

  #pull(response: ServerResponse, body: JsonObject): void {
    const { name } = body
    const lines: JsonObject[] = [
      { status: 'pulling manifest' },
      { status: 'pulling abab', digest: `sha256:${DIGEST}`, total: 10, completed: 4 },
      { status: 'pulling abab', digest: `sha256:${DIGEST}`, total: 10, completed: 10 },
      { status: 'verifying sha256 digest' },
      { status: 'success' },
    ]
    this.#models.push(full(name))
    this.#lines(response, lines)
  }

  #embed(response: ServerResponse, { input }: JsonObject): void {
    const inputs = (Array.isArray(input) ? input : [input]) as string[]
    const { vectors, promptTokens } = echoVectors({ inputs }, this.#vocabulary)
    const embeddings = vectors.map((vector) => [...vector])
    send(response, { model: 'echo', embeddings, prompt_eval_count: promptTokens })
  }

  #say(
    response: ServerResponse,
    body: JsonObject,
    request: GenerationRequest,
    received: Received,
  ): void {
    const name = full(body['model'])
    if (body['keep_alive'] === 0) this.#loaded.delete(name)
    else this.#loaded.add(name)
    const isEmpty = request.kind === 'completion' && request.prompt === ''
    if (isEmpty) send(response, { model: name, response: '', done: true, done_reason: 'load' })
    else {
      this.#waiting.shift()?.()
      if (this.behave === undefined) this.#generate(response, body, request)
      else this.behave(response, received)
    }
  }

  #generate(response: ServerResponse, body: JsonObject, request: GenerationRequest): void {
    const options = (body['options'] ?? {}) as { num_ctx?: number }
    const contextSize = Math.min(options.num_ctx ?? 4_096, this.#options.contextSize)
    try {
      this.#lines(response, linesOf(echo(request, { contextSize, vocabulary: this.#vocabulary })))
    } catch (error) {
      if (!(error instanceof InferenceError)) throw error
      const isCut = this.#options.cutsPrompts || body['truncate'] !== false
      const counts = { prompt_eval_count: contextSize, eval_count: 1 }
      const last = { message: { content: 'x' }, done: true, done_reason: 'length', ...counts }
      if (isCut) this.#lines(response, [last])
      else send(response, { error: 'the input length exceeds the context length' }, 400)
    }
  }

  #lines(response: ServerResponse, lines: readonly JsonObject[]): void {
    const bytes = utf8(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const size = this.#options.chunkBytes === 0 ? bytes.length : this.#options.chunkBytes
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    const write = (from: number) => {
      if (from >= bytes.length) return void response.end()
      response.write(bytes.slice(from, from + size), () => write(from + size))
    }
    write(0)
  }
}

const full = (name: unknown) =>
  String(name).includes(':') ? String(name) : `${String(name)}:latest`

function described(name: string) {
  return {
    name,
    model: name,
    modified_at: '2026-01-01T00:00:00Z',
    size: 1_000,
    digest: DIGEST,
    details: { family: 'echo', parameter_size: '1M', quantization_level: 'Q8_0', format: 'gguf' },
  }
}

function send(response: ServerResponse, value: unknown, code = 200): void {
  response
    .writeHead(code, { 'content-type': 'application/json; charset=utf-8' })
    .end(JSON.stringify(value))
}

function wishesOf(body: JsonObject) {
  const options = (body['options'] ?? {}) as Record<string, number | string[]>
  const { num_predict, temperature, seed, stop } = options
  return {
    maxTokens: Number(num_predict),
    stop: (stop ?? []) as string[],
    ...(temperature === undefined ? {} : { temperature: Number(temperature) }),
    ...(seed === undefined ? {} : { seed: BigInt(Number(seed)) }),
    ...(body['logprobs'] === true ? { topLogprobs: Number(body['top_logprobs'] ?? 0) } : {}),
  }
}

interface ToolBody {
  readonly function: { readonly name: string; readonly parameters: JsonObject }
}

function chatOf(body: JsonObject): ChatRequest {
  const { messages, format, think } = body
  const tools = (body['tools'] ?? []) as ToolBody[]
  return {
    kind: 'chat',
    messages: (messages ?? []) as ChatRequest['messages'],
    tools: tools.map((tool) => tool.function),
    toolChoice: tools.length === 0 ? 'none' : 'auto',
    parallelToolCalls: true,
    format:
      format === undefined
        ? { kind: 'text' }
        : format === 'json'
          ? { kind: 'json' }
          : { kind: 'schema', name: 's', schema: format as JsonObject },
    ...(think === undefined ? {} : { thinking: { enabled: think !== false } }),
    ...wishesOf(body),
  }
}

function completionOf(body: JsonObject): CompletionRequest {
  const prompt = String(body['prompt'] ?? '')
  return { kind: 'completion', prompt, echo: false, ...wishesOf(body) }
}

function linesOf({ deltas, generation }: ReturnType<typeof echo>): JsonObject[] {
  const head = { model: 'echo', created_at: '2026-01-01T00:00:00Z' }
  const { usage, finishReason } = generation
  return [
    ...deltas.map((delta) => ({ ...head, ...lineOf(delta), done: false })),
    {
      ...head,
      message: { role: 'assistant', content: '' },
      response: '',
      done: true,
      done_reason: finishReason === 'length' ? 'length' : 'stop',
      total_duration: 1,
      prompt_eval_count: usage.promptTokens,
      eval_count: usage.completionTokens,
    },
  ]
}

/** Calls come whole, their arguments as objects. Both APIs' fields are there; each client reads its own. */
function lineOf({ text = '', reasoning, toolCall, scores }: Delta): JsonObject {
  const shown = ({ text: token, bytes, logprob }: TokenAlternative) => ({
    token,
    logprob,
    bytes: [...bytes],
  })
  const call = toolCall && {
    function: { name: toolCall.name, arguments: JSON.parse(toolCall.arguments) as JsonObject },
  }
  return {
    response: text,
    message: {
      role: 'assistant',
      content: text,
      ...(reasoning === undefined ? {} : { thinking: reasoning }),
      ...(call === undefined ? {} : { tool_calls: [call] }),
    },
    ...(scores === undefined
      ? {}
      : {
          logprobs: scores.map((score) => ({
            ...shown({ ...score, logprob: score.logprob ?? 0 }),
            top_logprobs: score.top.map(shown),
          })),
        }),
  }
}
