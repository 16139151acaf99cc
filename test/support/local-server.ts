/** The owner's port over real Inference, and plain HTTP to talk to it, on one connection if need be. */
import { randomBytes } from 'node:crypto'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { Inference, type InferenceService } from '../../src/inference/inference.ts'
import {
  LOCAL_SERVER_DEFAULTS,
  LocalServer,
  type LocalServerOptions,
} from '../../src/inference/local.ts'
import type { PoolOptions } from '../../src/inference/pool.ts'
import { EchoBackend } from './echo-backend.ts'

export interface LocalWishes extends Partial<LocalServerOptions> {
  readonly clock?: Clock
  readonly pool?: Partial<PoolOptions>
}

export interface LocalWorld {
  readonly url: string
  readonly port: number
  readonly server: LocalServer
  readonly inference: Inference
}

/** @param services by default one, `llm`, of an echo */
export async function localServer(
  t: Test,
  services: readonly InferenceService[] = [{ serviceId: 'llm', backend: new EchoBackend() }],
  { clock = systemClock, pool, ...options }: LocalWishes = {},
): Promise<LocalWorld> {
  const bytes = (length: number) => new Uint8Array(randomBytes(length))
  const log = silentLog()
  const inference = new Inference({ clock, log, randomBytes: bytes, services }, pool)
  const server = new LocalServer(
    { clock, log, randomBytes: bytes, inference },
    {
      ...LOCAL_SERVER_DEFAULTS,
      port: 0,
      services: services.map(({ serviceId, model, backend }) => ({
        serviceId,
        model: model ?? backend.info().model,
      })),
      ...options,
    },
  )
  t.teardown(async () => {
    await Promise.all([inference.stop(), server.stop()])
  })
  await inference.start()
  const port = await server.listen()
  return { url: `http://127.0.0.1:${port}`, port, server, inference }
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface Asking {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** An object is sent as JSON; of a list, each piece is a chunk. */
  readonly body?: unknown
  readonly agent?: Agent
  readonly signal?: AbortSignal
  readonly onText?: (text: string) => void
}

/** POST where there is a body, else GET; on a connection of its own. */
export function ask(url: string, asking: Asking = {}): Promise<Reply> {
  const { body, headers = {}, agent, signal, onText } = asking
  const method = asking.method ?? (body === undefined ? 'GET' : 'POST')
  return new Promise((resolve, reject) => {
    const options = { method, headers, agent: agent ?? new Agent(), ...(signal ? { signal } : {}) }
    const sent = request(url, options, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
        onText?.(piece)
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      )
      response.on('error', reject)
    })
    sent.on('error', reject)
    if (Array.isArray(body)) {
      for (const piece of body) sent.write(piece)
      sent.end()
    } else if (typeof body === 'string' || body instanceof Uint8Array) sent.end(body)
    else sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Everything that comes back for these bytes, until the server closes. */
export function talk(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let came = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.setEncoding('utf8')
    socket.on('data', (piece: string) => {
      came += piece
    })
    socket.on('close', () => resolve(came))
    socket.on('error', (error) => (came === '' ? reject(error) : resolve(came)))
  })
}

/** Waits for what another part of the process does next. */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 5_000
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
