/** An engine behind the relay port that streams, and a reader of what comes out of the port. */
import type t from 'tap'
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { type RelayedStream, relayStream } from '../../src/devnet/gateway-stream.ts'
import { Inference, type InferenceService } from '../../src/inference/inference.ts'
import type { PoolOptions } from '../../src/inference/pool.ts'
import { encodeHttpRequest } from '../../src/protocol/http.ts'
import type { RelayRequest, SessionHeader } from '../../src/protocol/relay.ts'
import { EchoBackend, type EchoOptions } from './echo-backend.ts'
import type { Bench } from './relay-bench.ts'
import { SERVICE } from './relay-chain.ts'
import { isSigned, randomBytes, signed } from './relay-gateway.ts'

type Tap = Pick<typeof t, 'teardown'>

export interface EchoEngine {
  readonly inference: Inference
  /** Requests that the engine itself was asked. */
  readonly runs: { count: number }
}

/** The real inference over the echo. */
export async function echoEngine(
  test: Tap,
  clock: Clock,
  options: {
    readonly echo?: Partial<EchoOptions>
    readonly pool?: Partial<PoolOptions>
    readonly service?: Partial<InferenceService>
  } = {},
): Promise<EchoEngine> {
  const runs = { count: 0 }
  const backend = new EchoBackend(
    {
      slots: 4,
      contextSize: 4_096,
      ...options.echo,
      gate: async (request, signal) => {
        runs.count++
        await options.echo?.gate?.(request, signal)
      },
    },
    { clock },
  )
  const inference = new Inference(
    {
      clock,
      log: silentLog(),
      randomBytes,
      services: [{ serviceId: SERVICE, backend, ...options.service }],
    },
    options.pool,
  )
  await inference.start()
  test.teardown(() => inference.stop())
  return { inference, runs }
}

/** A chat of the bench's application, signed once more with each call. */
export function chatOf(
  b: Bench,
  body: unknown,
  path = '/v1/chat/completions',
  header?: SessionHeader,
): RelayRequest {
  const payload = encodeHttpRequest({
    method: 'POST',
    url: `https://relayminer.example.com${path}`,
    headers: [['Content-Type', 'application/json']],
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  })
  return signed({ ...b.draft(header), payload })
}

export const says = (content: string, more: Record<string, unknown> = {}) => ({
  messages: [{ role: 'user', content }],
  ...more,
})

/** Reads frames from the port as a caller does who knows them. */
export function readStream(
  port: number,
  request: RelayRequest,
  options: { readonly signal?: AbortSignal; readonly onText?: (text: string) => void } = {},
): Promise<RelayedStream> {
  const gateway = {
    check: async (_: unknown, response: Parameters<typeof isSigned>[0]) =>
      isSigned(response) ? '' : 'not signed',
    now: () => systemClock.monotonic(),
  }
  const to = { url: `http://127.0.0.1:${port}/`, request, method: 'POST' }
  return relayStream(gateway, to, options.signal ?? new AbortController().signal, {
    onText: (text) => options.onText?.(new TextDecoder().decode(text)),
  })
}

export const textIn = ({ inner }: Pick<RelayedStream, 'inner'>) =>
  new TextDecoder().decode(inner?.body)

/** What a streamed chat says, of all its events. */
export function saidIn(text: string): string {
  const events = text.split('\n\n').filter((event) => /^data: {/.test(event))
  const chunks = events.map(
    (event) =>
      JSON.parse(event.slice('data: '.length)) as { choices: { delta: { content?: string } }[] },
  )
  return chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? '')).join('')
}
