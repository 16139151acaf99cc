/**
 * News of blocks, pushed by a node over WebSocket.
 *
 * Only a hint that something is new: what is new is asked by HTTP. So a connection that drops, goes
 * silent or talks nonsense costs nothing but time; it is closed and the next endpoint is tried after
 * a pause. Pushes carry the id of the subscription; the node pings about every 27 s and `ws` answers.
 * cosmjs's WebsocketClient is not used: it reconnects by its own timers and throws from them.
 * Source: cometbft rpc/core/events.go. Tested by test/chain/blocks.ts.
 */
import { type RawData, WebSocket } from 'ws'
import type { Clock } from '../base/clock.ts'
import { isAbort } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Bytes, type Height, type Ms, ms } from '../base/units.ts'
import { Json } from './json.ts'

export interface SocketDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

export interface SocketOptions {
  /** From the first packet to the accepted subscription. */
  readonly connectTimeout: Ms
  /** The first pause after a lost connection; doubled each time, full jitter. */
  readonly pauseFirst: Ms
  readonly pauseMax: Ms
  /** The largest message taken; a header is 1.3 KB. */
  readonly messageBytesMax: Bytes
}

export const SOCKET_DEFAULTS: SocketOptions = {
  connectTimeout: ms(10_000),
  pauseFirst: ms(500),
  pauseMax: ms(30_000),
  messageBytesMax: (1024 * 1024) as Bytes,
}

const SUBSCRIPTION_ID = 1
const SUBSCRIBE = JSON.stringify({
  jsonrpc: '2.0',
  id: SUBSCRIPTION_ID,
  method: 'subscribe',
  params: { query: "tm.event='NewBlockHeader'" },
})

export class HeaderSocket {
  readonly #deps: SocketDeps
  readonly #options: SocketOptions
  #current: WebSocket | undefined
  #subscribed = false

  constructor(deps: SocketDeps, options: SocketOptions = SOCKET_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** True while a node has accepted the subscription. */
  get isSubscribed(): boolean {
    return this.#subscribed
  }

  /** Drops the connection; `run` opens another after a pause. */
  restart(): void {
    this.#current?.terminate()
  }

  /**
   * Until aborted, then throws `signal.reason`.
   * @param urls in order of preference, as of now; begins with the second, see chain/blocks.ts, and
   *   goes on with the next one when one fails
   * @param onHeader the height of each header announced, in order of arrival, perhaps with gaps
   */
  async run(
    urls: () => readonly string[],
    onHeader: (height: Height) => void,
    signal: AbortSignal,
  ): Promise<never> {
    const { clock, random, log } = this.#deps
    for (let failures = 0, at = 1; ; at++) {
      const now = urls()
      const url = now[at % now.length]
      try {
        if (url !== undefined)
          await this.#connection(url, signal, (height) => {
            failures = 0
            onHeader(height)
          })
      } catch (error) {
        if (isAbort(error, signal)) throw error
        const endpoint = url === undefined ? '' : new URL(url).host
        log.debug({ endpoint, err: error }, 'block subscription ended')
      }
      const ceiling = Math.min(this.#options.pauseMax, this.#options.pauseFirst * 2 ** failures)
      failures = Math.min(failures + 1, 30)
      await clock.sleep(ms(ceiling * random()), signal)
    }
  }

  /** One connection, from its opening to its end. */
  async #connection(
    url: string,
    signal: AbortSignal,
    onHeader: (height: Height) => void,
  ): Promise<void> {
    signal.throwIfAborted()
    const socket = new WebSocket(url, {
      maxPayload: this.#options.messageBytesMax,
      perMessageDeflate: false,
      followRedirects: false,
    })
    this.#current = socket
    const ended = new AbortController()
    const terminate = () => socket.terminate()
    signal.addEventListener('abort', terminate, { once: true })
    const late = this.#deps.clock.sleep(this.#options.connectTimeout, ended.signal)
    late.then(
      () => (this.#subscribed ? undefined : socket.terminate()),
      () => {},
    )
    try {
      await new Promise<void>((resolve, reject) => {
        socket.on('open', () => socket.send(SUBSCRIBE))
        socket.on('message', (data) => {
          try {
            const height = readFrame(data)
            this.#subscribed = true
            if (height !== undefined) onHeader(height)
          } catch (error) {
            reject(error)
          }
        })
        socket.on('error', reject)
        socket.on('close', () => resolve())
      })
      signal.throwIfAborted()
    } finally {
      ended.abort()
      signal.removeEventListener('abort', terminate)
      this.#subscribed = false
      this.#current = undefined
      socket.terminate()
    }
  }
}

/** The height that a frame announces; undefined for the answer to the subscription. */
function readFrame(data: RawData): Height | undefined {
  const text = Array.isArray(data)
    ? Buffer.concat(data).toString()
    : Buffer.from(data as Buffer).toString()
  const frame = new Json(JSON.parse(text), 'frame')
  const error = frame.get('error')
  if (!error.isNull) throw error.wrong('absent', new Error(JSON.stringify(error.value)))
  const news = frame.get('result').get('data')
  return news.isNull ? undefined : news.get('value').get('header').get('height').height()
}
