/** The supplier's side of a relay: an HTTP server that answers as it is told and remembers what came. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseRing, type Ring, RingVerifier } from '../../src/crypto/ring.ts'
import { addressOf } from '../../src/protocol/address.ts'
import type { Session } from '../../src/protocol/gen/pocket/session/session.ts'
import { decodeHttpRequest, encodeHttpResponse, type HttpRequest } from '../../src/protocol/http.ts'
import {
  decodeRelayRequest,
  encodeRelayResponse,
  payloadHash,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
  responseDigest,
} from '../../src/protocol/relay.ts'
import { curve, keys, operator } from './relay-gateway.ts'

export interface ReceivedRelay {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly request: RelayRequest
  readonly ring: Ring
  /** The ring's signature is good for this request. */
  readonly isSigned: boolean
  readonly inner: HttpRequest
}

export type Conduct = (response: ServerResponse, received: ReceivedRelay) => void

export const APPLICATION = addressOf(keys.app.publicKey)
export const GATEWAY = addressOf(keys.gateway.publicKey)
export const SERVICE = 'text'
const ANSWER = '{"said":"hello"}'

export class FakeSupplier {
  readonly received: ReceivedRelay[] = []
  conduct: Conduct = (response, received) => response.end(encodeRelayResponse(answerTo(received)))
  readonly #server: Server
  readonly #rings = new RingVerifier({ curve })
  #waiting: (() => void)[] = []

  constructor() {
    this.#server = createServer((request, response) => {
      this.#take(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  /** Resolves with the next relay. */
  async next(): Promise<ReceivedRelay> {
    const { length } = this.received
    while (this.received.length === length)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const relay = this.received.at(-1)
    if (relay === undefined) throw new Error('no relay has come')
    return relay
  }

  async #take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const request = decodeRelayRequest(Buffer.concat(chunks))
    const ring = parseRing(request.meta?.signature ?? new Uint8Array(0))
    const received = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      headers: incoming.headers,
      request,
      ring,
      isSigned: this.#rings.verify(requestSignableHash(request), ring),
      inner: decodeHttpRequest(request.payload),
    }
    this.received.push(received)
    for (const wake of this.#waiting.splice(0)) wake()
    this.conduct(response, received)
  }
}

export interface AnswerOptions {
  readonly status?: number
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly body?: string
  /** Instead of an encoded HTTP response. */
  readonly payload?: Uint8Array
  /** Before it is signed. */
  readonly change?: (response: RelayResponse) => RelayResponse
}

/** A response that the operator has signed. */
export function answerTo(
  { request }: Pick<ReceivedRelay, 'request'>,
  options: AnswerOptions = {},
): RelayResponse {
  const { status = 200, headers = [['Content-Type', 'application/json']], body = ANSWER } = options
  const encoded = encodeHttpResponse({ status, headers, body: Buffer.from(body) })
  const payload = options.payload ?? encoded
  const signed = (supplierOperatorSignature: Uint8Array): RelayResponse => ({
    meta: { sessionHeader: request.meta?.sessionHeader, supplierOperatorSignature },
    payload,
    relayMinerError: undefined,
    payloadHash: payloadHash(payload),
  })
  const change = options.change ?? ((response) => response)
  const response = change(signed(new Uint8Array(0)))
  const supplierOperatorSignature = operator.sign(responseDigest(response))
  return {
    ...response,
    meta: { sessionHeader: response.meta?.sessionHeader, supplierOperatorSignature },
  }
}

/** The session of the application with this supplier, as the chain tells it. */
export function sessionWith(
  suppliers: readonly (readonly [operator: string, url: string])[],
  gateways: readonly string[] = [],
): Session {
  return {
    header: {
      applicationAddress: APPLICATION,
      serviceId: SERVICE,
      sessionId: 'ab'.repeat(32),
      sessionStartBlockHeight: 1n,
      sessionEndBlockHeight: 4n,
    },
    sessionId: 'ab'.repeat(32),
    sessionNumber: 0n,
    numBlocksPerSession: 4n,
    application: {
      address: APPLICATION,
      stake: undefined,
      serviceConfigs: [],
      delegateeGatewayAddresses: [...gateways],
      pendingUndelegations: new Map(),
      unstakeSessionEndHeight: 0n,
      pendingTransfer: undefined,
      perSessionSpendLimit: undefined,
      serviceConfigHistory: [],
    },
    suppliers: suppliers.map(([operatorAddress, url]) => ({
      ownerAddress: operatorAddress,
      operatorAddress,
      stake: undefined,
      services:
        url === ''
          ? []
          : [
              {
                serviceId: 'other',
                endpoints: [{ url: 'http://127.0.0.1:1', rpcType: 3, configs: [] }],
                revShare: [],
              },
              { serviceId: SERVICE, endpoints: [{ url, rpcType: 3, configs: [] }], revShare: [] },
            ],
      unstakeSessionEndHeight: 0n,
      serviceConfigHistory: [],
    })),
  }
}
