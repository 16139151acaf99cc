/**
 * Ollama's API through its own JavaScript client, over our connections.
 *
 * The client takes signals for streams only, has no limit on what it reads and prints lines that are no
 * JSON to the terminal. So it is made for each call, with a function in place of `fetch` that has the
 * call's signal, bounds what comes and hands on nothing but lines that are JSON objects.
 * Tested by test/inference/ollama/client.ts.
 */
import { ReadableStream } from 'node:stream/web'
import { type ChatRequest, type EmbedRequest, type GenerateRequest, Ollama } from 'ollama'
import { following } from '../../base/abort.ts'
import { utf8 } from '../../base/bytes.ts'
import { engineFailed, InferenceError } from '../errors.ts'
import { isObject } from '../json.ts'
import type { JsonObject } from '../request.ts'
import { parsed } from '../tools/json.ts'
import { refusalOf } from '../upstream/refusal.ts'
import { type Reply, readAll, type UpstreamServer } from '../upstream/server.ts'
import { Lines } from '../upstream/sse.ts'

/** What `ollama list` shows of a model. These are Ollama's words: none of them was checked here. */
export interface OllamaModel {
  /** With its tag. */
  readonly name: string
  /** Of its manifest, in hex. */
  readonly digest: string
  readonly bytes: number
  readonly family?: string
  readonly quantisation?: string
  readonly parameters?: string
}

export interface OllamaDetails {
  readonly capabilities: readonly string[]
  /** Tokens that the model was made for. */
  readonly contextSize?: number
  readonly template: string
}

export interface LoadedModel {
  readonly name: string
  /** Of its memory on graphics cards, 0 to 1. */
  readonly gpuShare: number
}

export interface PullProgress {
  readonly status: string
  readonly digest?: string
  readonly total?: number
  readonly completed?: number
}

export interface ClientOptions {
  /** Of one line. */
  readonly eventBytesMax: number
  /** Of the server's URL: empty, or `/ollama`. */
  readonly basePath: string
}

export class OllamaClient {
  readonly #server: UpstreamServer
  readonly #options: ClientOptions

  constructor(server: UpstreamServer, options: ClientOptions) {
    this.#server = server
    this.#options = options
  }

  async list(signal: AbortSignal): Promise<OllamaModel[]> {
    const { models } = checked(await this.#call(signal, (api) => api.list()))
    return listOf(models).map((entry) => {
      const details = isObject(entry['details']) ? entry['details'] : {}
      return {
        name: textOf(entry['name']),
        digest: textOf(entry['digest']).replace(/^sha256:/, ''),
        bytes: numberOf(entry['size']) ?? 0,
        ...optional('family', details['family']),
        ...optional('quantisation', details['quantization_level']),
        ...optional('parameters', details['parameter_size']),
      }
    })
  }

  async show(model: string, signal: AbortSignal): Promise<OllamaDetails> {
    const shown = checked(await this.#call(signal, (api) => api.show({ model })))
    const { capabilities, template } = shown
    const facts = isObject(shown['model_info']) ? Object.entries(shown['model_info']) : []
    const size = numberOf(facts.find(([name]) => name.endsWith('.context_length'))?.[1])
    return {
      // Older servers do not say.
      capabilities: Array.isArray(capabilities) ? capabilities.map(String) : ['completion'],
      template: typeof template === 'string' ? template : '',
      ...(size === undefined ? {} : { contextSize: size }),
    }
  }

  /** What is in memory now, loaded by whomever. */
  async loaded(signal: AbortSignal): Promise<LoadedModel[]> {
    const { models } = checked(await this.#call(signal, (api) => api.ps()))
    return listOf(models).map((entry) => {
      const size = numberOf(entry['size']) ?? 0
      const onGpu = numberOf(entry['size_vram']) ?? 0
      return { name: textOf(entry['name']), gpuShare: size === 0 ? 0 : Math.min(1, onGpu / size) }
    })
  }

  /** @param request an empty prompt loads the model, with `keep_alive: 0` unloads it */
  async touch(request: GenerateRequest, signal: AbortSignal): Promise<void> {
    await this.#call(signal, (api) => api.generate({ ...request, stream: false }))
  }

  async embed(request: EmbedRequest, signal: AbortSignal): Promise<JsonObject> {
    return checked(await this.#call(signal, (api) => api.embed(request)))
  }

  /** @param onChunk called for every line */
  async chat(
    request: ChatRequest,
    signal: AbortSignal,
    onChunk: (chunk: JsonObject) => void,
  ): Promise<void> {
    await this.#call(signal, async (api) => {
      for await (const chunk of await api.chat({ ...request, stream: true }))
        onChunk(checked(chunk))
    })
  }

  async generate(
    request: GenerateRequest,
    signal: AbortSignal,
    onChunk: (chunk: JsonObject) => void,
  ): Promise<void> {
    await this.#call(signal, async (api) => {
      const chunks = await api.generate({ ...request, stream: true })
      for await (const chunk of chunks) onChunk(checked(chunk))
    })
  }

  /** Lets the server download a model, which checks what it gets by its digests. */
  async pull(
    model: string,
    signal: AbortSignal,
    onProgress: (progress: PullProgress) => void,
  ): Promise<void> {
    await this.#call(signal, async (api) => {
      for await (const line of await api.pull({ model, stream: true })) {
        const { status, digest, total, completed } = checked(line)
        onProgress({
          status: textOf(status),
          ...optional('digest', digest),
          ...(typeof total === 'number' ? { total } : {}),
          ...(typeof completed === 'number' ? { completed } : {}),
        })
      }
    })
  }

  /** @throws InferenceError; `signal.reason`; what the callbacks inside throw */
  async #call<T>(signal: AbortSignal, work: (api: Ollama) => Promise<T>): Promise<T> {
    using both = following(signal)
    // The function's own type is that of the browser, of which the client uses little.
    const send = ((input: string, init?: { method?: string; body?: string }) =>
      this.#send(input, init, both.signal)) as unknown as typeof globalThis.fetch
    try {
      return await work(new Ollama({ host: 'http://ollama', fetch: send }))
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof InferenceError) throw error
      // Without the cause: the client's errors quote the answer.
      throw engineFailed('Ollama broke off or answered something else')
    } finally {
      // A stream that nobody reads any more keeps its connection otherwise.
      both.abort(undefined)
    }
  }

  async #send(
    input: string,
    init: { readonly method?: string; readonly body?: string } | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const { pathname } = new URL(input)
    const isPost = init?.method === 'POST'
    const reply = await this.#server.send(
      {
        method: isPost ? 'POST' : 'GET',
        path: `/${this.#options.basePath}${pathname}`,
        ...(isPost && typeof init.body === 'string' ? { body: utf8(init.body) } : {}),
      },
      signal,
    )
    const isStream = String(reply.headers['content-type'] ?? '').includes('ndjson')
    const body = isStream
      ? (ReadableStream.from(this.#lines(reply)) as unknown as globalThis.ReadableStream)
      : new Uint8Array(await readAll(reply.body))
    return new Response(body, { status: 200 })
  }

  /** Lines that are JSON objects. @throws InferenceError for anything else, and for `{"error": …}` */
  async *#lines({ body }: Reply): AsyncGenerator<Uint8Array> {
    const lines = new Lines(this.#options.eventBytesMax)
    for await (const chunk of body) for (const line of lines.push(chunk)) yield* this.#line(line)
    yield* this.#line(lines.end())
  }

  *#line(line: string): Generator<Uint8Array> {
    if (line.trim() === '') return
    const value = parsed(line)
    if (!isObject(value)) throw engineFailed('Ollama answered with something other than JSON')
    const { error } = value
    // What a request lacks is said before the first line; this is something inside the server.
    if (error !== undefined && error !== null)
      throw refusalOf(500, {}, new Uint8Array(), this.#server.model)
    yield utf8(`${line}\n`)
  }
}

function checked(value: unknown): JsonObject {
  if (!isObject(value)) throw engineFailed('Ollama answered with something else')
  return value
}

function listOf(value: unknown): JsonObject[] {
  // An empty list is null in some versions.
  if (value === null || value === undefined) return []
  if (!Array.isArray(value)) throw engineFailed('Ollama answered without a list')
  return value.map(checked)
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw engineFailed('Ollama answered without a name')
  return value
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function optional<K extends string>(name: K, value: unknown): { [P in K]?: string } {
  const named = { [name]: value } as { [P in K]?: string }
  return typeof value === 'string' && value !== '' ? named : {}
}
