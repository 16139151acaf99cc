/** A server with the OpenAI API, as vLLM writes it, that can be told to misbehave. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { utf8 } from '../../src/base/bytes.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { readBody } from '../../src/inference/json.ts'
import { readChat } from '../../src/inference/read/chat.ts'
import { readCompletion } from '../../src/inference/read/completion.ts'
import { readDetokenize, readEmbedding, readTokenize } from '../../src/inference/read/others.ts'
import type { JsonObject } from '../../src/inference/request.ts'
import { EchoVocabulary, echo, echoVectors, promptOf } from './echo-model.ts'
import { chatEvents, completionEvents, wholeBody } from './upstream-words.ts'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export type Behaviour = (response: ServerResponse, received: Received) => void

/** What a chat can be answered by instead. */
export const MISBEHAVIOURS = {
  silent: () => {},
  garbage: (response) => response.end('<html>not what you think</html>'),
  notUtf8: (response) => response.end(Buffer.from([0x22, 0xff, 0xfe, 0x22])),
  array: (response) => response.end('[]'),
  noChoices: (response) => response.end('{"id":"x","choices":[]}'),
  errorWith200: (response) => response.end('{"error":{"message":"secret words"}}'),
  noUsage: (response) =>
    response.end('{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}]}'),
  parts: (response) =>
    response.end(
      '{"choices":[{"message":{"content":[{"type":"text"}]}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}',
    ),
  cut: (response) => response.destroy(),
  cutBody: (response) => {
    response.writeHead(200, { 'content-length': '1000' })
    response.write('{"id":"', () => response.destroy())
  },
  huge: (response) => {
    const chunk = Buffer.alloc(64 * 1024, 0x20)
    const more = () => response.write(chunk, (error) => error ?? setImmediate(more))
    more()
  },
  redirect: (response) =>
    response.writeHead(302, { location: '/v1/elsewhere/chat/completions' }).end(),
} satisfies Record<string, Behaviour>

/** Answers with a status and, if given, an OpenAI error object or any text. */
export function status(
  code: number,
  body: unknown = '',
  headers: Record<string, string> = {},
): Behaviour {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return (response) => response.writeHead(code, headers).end(text)
}

/** A stream of these events; what is no text is written as JSON. @param end absent: it stays open */
export function events(list: readonly unknown[], end: 'end' | 'cut' | 'open' = 'end'): Behaviour {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    for (const item of list)
      response.write(`data: ${typeof item === 'string' ? item : JSON.stringify(item)}\n\n`)
    if (end === 'end') response.end()
    else if (end === 'cut') setImmediate(() => response.destroy())
  }
}

/** A request that waits, once `caught` has resolved, and is answered as usual after `release`. */
export interface HeldChat {
  readonly caught: Promise<Received>
  release(): void
}

export interface FakeUpstreamOptions {
  readonly contextSize: number
  /** What the list of models says. */
  readonly ownedBy: string
  readonly models: readonly string[]
  /** Fields that it takes and ignores. */
  readonly ignores: readonly string[]
  /** Bytes of a piece on the wire; 0: as they come. */
  readonly chunkBytes: number
  readonly lineEnd: '\n' | '\r\n'
  /** Comments between events. */
  readonly pings: boolean
}

export class FakeUpstream {
  readonly received: Received[] = []
  /** Of chats and completions only; the rest comes as usual. */
  behave: Behaviour | undefined
  /** Status of the list of models. */
  modelsStatus = 200
  readonly #server: Server
  readonly #options: FakeUpstreamOptions
  readonly #vocabulary = new EchoVocabulary()
  #waiting: ((received: Received) => void)[] = []
  #holds: ((received: Received) => Promise<void>)[] = []

  constructor(options: Partial<FakeUpstreamOptions> = {}) {
    this.#options = {
      contextSize: 256,
      ownedBy: 'vllm',
      models: ['their-name'],
      ignores: [],
      chunkBytes: 0,
      lineEnd: '\n',
      pings: false,
      ...options,
    }
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
  }

  async open(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/v1`
  }

  /** Resolves with the next request. */
  next(): Promise<Received> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Chats that are not to be counted, such as those by which a supplier finds out what there is. */
  uncounted = 0

  /** How many chats have come. */
  get chats(): number {
    const all = this.received.filter(({ path }) => path.endsWith('/chat/completions')).length
    return all - this.uncounted
  }

  /** Holds the next chat, and only that one. */
  hold(): HeldChat {
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const caught = new Promise<Received>((resolve) => {
      this.#holds.push((received) => {
        resolve(received)
        return released
      })
    })
    return { caught, release }
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
    const received = { method, path: url, headers, body: Buffer.concat(chunks).toString() }
    this.received.push(received)
    this.#waiting.shift()?.(received)
    if (url.endsWith('/models')) return this.#models(response)
    if (method !== 'POST') return status(404, { detail: 'Not Found' })(response, received)
    const isGenerated = url.endsWith('completions')
    if (isGenerated) await this.#holds.shift()?.(received)
    if (isGenerated && this.behave !== undefined) return this.behave(response, received)
    try {
      this.#serve(response, url, this.#heard(received.body))
    } catch (error) {
      if (!(error instanceof InferenceError)) throw error
      const { param = null } = error.data
      const code = error.code === 'CONTEXT_LENGTH' ? 'context_length_exceeded' : error.code
      const refusal = { error: { message: error.message, param, code, type: 'BadRequestError' } }
      status(400, refusal)(response, received)
    }
  }

  #models(response: ServerResponse): void {
    const { ownedBy, models, contextSize } = this.#options
    const data = models.map((id) => ({
      id,
      object: 'model',
      owned_by: ownedBy,
      max_model_len: contextSize,
    }))
    response.writeHead(this.modelsStatus).end(JSON.stringify({ object: 'list', data }))
  }

  /** The body without what this server ignores. */
  #heard(text: string): JsonObject {
    const body = { ...readBody(utf8(text)) }
    for (const field of this.#options.ignores) delete body[field]
    return body
  }

  #serve(response: ServerResponse, path: string, body: JsonObject): void {
    const rules = { model: 'm', strictModel: false, canStream: true, choicesMax: 1 }
    const world = { ...this.#options, vocabulary: this.#vocabulary }
    const json = (value: unknown) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (path === '/v1/chat/completions') {
      const { request, stream } = readChat(body, rules)
      const said = echo(request, world)
      if (stream) this.#stream(response, chatEvents(said, String(body['model'])))
      else json(wholeBody('chat', said, String(body['model'])))
    } else if (path === '/v1/completions') {
      const { requests, stream } = readCompletion(body, rules)
      const [request] = requests
      if (request === undefined) throw new InferenceError('BAD_REQUEST', 'no prompt')
      const said = echo(request, world)
      if (stream) this.#stream(response, completionEvents(said, String(body['model'])))
      else json(wholeBody('completion', said, String(body['model'])))
    } else if (path === '/v1/embeddings') {
      const made = echoVectors(readEmbedding(body, rules).request, this.#vocabulary)
      const data = made.vectors.map((vector, index) => ({
        object: 'embedding',
        index,
        // Twice as long: whoever wants length 1 sees to it.
        embedding: [...vector].map((value) => value * 2),
      }))
      json({ data: data.reverse(), usage: { prompt_tokens: made.promptTokens } })
    } else if (path === '/tokenize') {
      const { of } = readTokenize(body, rules)
      const tokens = this.#vocabulary.ids(typeof of === 'string' ? of : promptOf(of))
      json({ tokens, count: tokens.length, max_model_len: this.#options.contextSize })
    } else if (path === '/detokenize') {
      const bytes = this.#vocabulary.bytes(readDetokenize(body, rules).tokens)
      json({ prompt: new TextDecoder().decode(bytes) })
    } else status(404, { detail: 'Not Found' })(response, this.received.at(-1) as Received)
  }

  #stream(response: ServerResponse, list: readonly unknown[]): void {
    const { lineEnd, pings, chunkBytes } = this.#options
    const ping = pings ? `: ping${lineEnd}${lineEnd}` : ''
    const text = [...list.map((item) => JSON.stringify(item)), '[DONE]']
      .map((data) => `${ping}data: ${data}${lineEnd}${lineEnd}`)
      .join('')
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    const bytes = utf8(text)
    const size = chunkBytes === 0 ? bytes.length : chunkBytes
    const send = (from: number) => {
      if (from >= bytes.length) return void response.end()
      response.write(bytes.slice(from, from + size), () => send(from + size))
    }
    send(0)
  }
}
