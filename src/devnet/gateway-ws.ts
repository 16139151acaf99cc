/**
 * The other side of a WebSocket: ring-sign each message, check each answer.
 *
 * A connection serves the session it was opened in. The payload of a relay is the message of the
 * gateway's own client, without method, path and headers, and goes in the kind of frame that it came
 * in; a text frame then holds what is no text, which is not looked at. Answers come in the order of
 * their requests. Source: path protocol/shannon/websocket_context.go, websockets/bridge.go.
 * Tests: test/e2e/websocket.ts.
 */
import { WebSocket } from 'ws'
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { ms } from '../base/units.ts'
import type { Session } from '../protocol/gen/pocket/session/session.ts'
import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'
import { decodeRelayResponse, encodeRelayRequest, type RelayRequest } from '../protocol/relay.ts'
import { type Gateway, GatewayError, type Relayed, readable } from './gateway.ts'

export interface GatewaySocketDeps {
  readonly gateway: Pick<Gateway, 'sign' | 'check'>
  readonly clock: Clock
}

export interface GatewaySocketOptions {
  readonly answerBytesMax: number
  /** The kind of frame that messages go in. */
  readonly frame: 'binary' | 'text'
}

export const GATEWAY_SOCKET_DEFAULTS: GatewaySocketOptions = {
  answerBytesMax: 100 * 1024 * 1024,
  frame: 'binary',
}

/** `body` is what the operator signed for; undefined for an unsigned error reply. */
export type RelayedMessage = Omit<Relayed, 'inner'> & {
  readonly body: Uint8Array | undefined
  readonly frame: 'binary' | 'text'
}

type Answer = Pick<RelayedMessage, 'frame'> & { readonly bytes: Uint8Array }

interface Waiting {
  resolve(answer: Answer): void
  reject(error: unknown): void
}

export class GatewaySocket {
  readonly #deps: GatewaySocketDeps
  readonly #options: GatewaySocketOptions
  readonly #socket: WebSocket
  readonly #session: Session
  readonly #operator: string
  /** In the order in which their requests were sent. */
  readonly #waiting: Waiting[] = []
  /** Resolves when the connection is no more, with the supplier's code and reason. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>

  private constructor(
    deps: GatewaySocketDeps,
    options: GatewaySocketOptions,
    socket: WebSocket,
    session: Session,
    operator: string,
  ) {
    this.#deps = deps
    this.#options = options
    this.#socket = socket
    this.#session = session
    this.#operator = operator
    socket.on('message', (data, isBinary) =>
      this.#waiting.shift()?.resolve({
        bytes: data as Uint8Array,
        frame: isBinary ? 'binary' : 'text',
      }),
    )
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, bytes) => {
        const reason = bytes.toString()
        const error = new GatewayError('RELAY', `the connection was closed: ${code} ${reason}`)
        for (const { reject } of this.#waiting.splice(0)) reject(error)
        resolve({ code, reason })
      })
    })
  }

  /**
   * @param url of the operator, as it is staked; `http` is read as `ws`
   * @throws GatewayError RELAY, or `signal.reason`
   */
  static async open(
    deps: GatewaySocketDeps,
    session: Session,
    { operator, url }: { readonly operator: string; readonly url: string },
    signal: AbortSignal,
    options: GatewaySocketOptions = GATEWAY_SOCKET_DEFAULTS,
  ): Promise<GatewaySocket> {
    const greeting = await deps.gateway.sign(session, operator, new Uint8Array(0), signal)
    const socket = new WebSocket(url.replace(/^http/, 'ws'), {
      headers: handshake(greeting, operator),
      maxPayload: options.answerBytesMax,
      perMessageDeflate: false,
      skipUTF8Validation: true,
    })
    const opened = new GatewaySocket(deps, options, socket, session, operator)
    const terminate = () => socket.terminate()
    signal.addEventListener('abort', terminate, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('open', resolve)
        socket.on('error', reject)
      })
      return opened
    } catch (cause) {
      signal.throwIfAborted()
      const text = `no connection to the supplier: ${errorText(cause)}`
      throw new GatewayError('RELAY', text, { cause, retryable: true })
    } finally {
      signal.removeEventListener('abort', terminate)
    }
  }

  /** One relay. @throws GatewayError RELAY when the connection ends before the answer */
  async relay(payload: Uint8Array, signal: AbortSignal): Promise<RelayedMessage> {
    const request = await this.#deps.gateway.sign(this.#session, this.#operator, payload, signal)
    return await this.send(request, signal)
  }

  /** Sends what was signed. Requests go out in the order of the calls. @throws GatewayError RELAY */
  async send(request: RelayRequest, signal: AbortSignal): Promise<RelayedMessage> {
    const { clock, gateway } = this.#deps
    const started = clock.monotonic()
    const { bytes, frame } = await this.#exchange(encodeRelayRequest(request))
    const response = readable('response', () => decodeRelayResponse(bytes))
    const fault = await gateway.check(request, response, this.#operator, signal)
    return {
      supplier: this.#operator,
      request,
      response,
      body: fault === '' ? response.payload : undefined,
      frame,
      error: response.relayMinerError,
      verified: fault === '',
      fault,
      duration: ms(clock.monotonic() - started),
    }
  }

  async close(): Promise<void> {
    this.#socket.close(1000)
    await this.closed
  }

  #exchange(bytes: Uint8Array): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject }
      this.#waiting.push(waiting)
      this.#socket.send(bytes, { binary: this.#options.frame === 'binary' }, (error) => {
        if (!(error instanceof Error)) return
        const at = this.#waiting.indexOf(waiting)
        if (at !== -1) this.#waiting.splice(at, 1)
        reject(new GatewayError('RELAY', 'the connection is closed', { cause: error }))
      })
    })
  }
}

function handshake({ meta }: RelayRequest, operator: string): Record<string, string> {
  const header = meta?.sessionHeader
  return {
    'Rpc-Type': String(RPCType.WEBSOCKET),
    'Target-Service-Id': header?.serviceId ?? '',
    'App-Address': header?.applicationAddress ?? '',
    'Pocket-Session-Id': header?.sessionId ?? '',
    'Pocket-Session-Start-Height': String(header?.sessionStartBlockHeight ?? ''),
    'Pocket-Session-End-Height': String(header?.sessionEndBlockHeight ?? ''),
    'Pocket-Supplier-Address': operator,
    'Pocket-Signature': Buffer.from(meta?.signature ?? []).toString('base64'),
  }
}
