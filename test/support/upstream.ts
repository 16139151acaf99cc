/** A server with the OpenAI API that can be told to misbehave. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { InferenceError } from '../../src/inference/errors.ts'
import { echo } from './echo-backend.ts'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export type Behaviour = (response: ServerResponse, received: Received) => void

/** What `chat` can be replaced by. */
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

/** A chat that waits, once `caught` has resolved, and is answered as usual after `release`. */
export interface HeldChat {
  readonly caught: Promise<Received>
  release(): void
}

export class FakeUpstream {
  readonly received: Received[] = []
  /** Of chats only; the list of models always comes. */
  behave: Behaviour | undefined
  /** Status of the list of models. */
  modelsStatus = 200
  readonly #server: Server
  readonly #contextSize: number
  #waiting: ((received: Received) => void)[] = []
  #holds: ((received: Received) => Promise<void>)[] = []

  constructor(contextSize = 256) {
    this.#contextSize = contextSize
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`
  }

  /** Resolves with the next request. */
  next(): Promise<Received> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** How many chats have come. */
  get chats(): number {
    return this.received.filter(({ path }) => path.endsWith('/chat/completions')).length
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
    if (url.endsWith('/models')) {
      response.writeHead(this.modelsStatus).end('{"object":"list","data":[]}')
      return
    }
    await this.#holds.shift()?.(received)
    if (this.behave !== undefined) this.behave(response, received)
    else chat(response, received, this.#contextSize)
  }
}

function chat(response: ServerResponse, received: Received, contextSize: number): void {
  const body = JSON.parse(received.body)
  try {
    const said = echo(
      {
        messages: body.messages,
        maxTokens: body.max_tokens,
        temperature: body.temperature,
        seed: body.seed,
        stop: body.stop ?? [],
      },
      contextSize,
    )
    const { promptTokens, completionTokens } = said.usage
    const answer = {
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: said.pieces.join(''), tool_calls: null },
          finish_reason: said.finishReason,
        },
      ],
      error: null,
      created: 1,
      id: 'cmpl-of-the-upstream',
      model: body.model,
      object: 'chat.completion',
      provider: 'name of the upstream',
      usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens },
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  } catch (error) {
    if (!(error instanceof InferenceError)) throw error
    const refusal = { error: { message: error.message, code: 'context_length_exceeded' } }
    status(400, refusal)(response, received)
  }
}
