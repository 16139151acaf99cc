/**
 * Requests, responses, claims and proofs with one thing changed, and what is to be said of each: rows
 * for test/e2e/tamper.ts, which sends them to a running supplier, a gateway and a chain.
 */
import { concat, u64, utf8 } from '../../src/base/bytes.ts'
import { signRing } from '../../src/crypto/ring.ts'
import {
  decodeRelay,
  encodeRelay,
  type Relay,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
  responseDigest,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { type CompactProof, provenValue } from '../../src/smst/proof.ts'
import { actor, curve } from './network.ts'

export const STRANGER = actor('stranger')
const NOTHING = new Uint8Array(0)
const NO_HEADER: SessionHeader = {
  applicationAddress: '',
  serviceId: '',
  sessionId: '',
  sessionStartBlockHeight: 0n,
  sessionEndBlockHeight: 0n,
}

/** A copy with one bit of one byte changed. */
export function flipped(bytes: Uint8Array, at = 0): Uint8Array {
  return bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))
}

export interface FalseHeader {
  readonly name: string
  readonly change: Partial<SessionHeader>
  readonly codespace: string
  readonly code: number
}

const mismatch = { codespace: 'relay_authenticator', code: 1 }
/** Of the session 1 … 4 at height 1; to be signed rightly by the gateway. */
export const FALSE_HEADERS: readonly FalseHeader[] = [
  {
    name: 'application_address',
    change: { applicationAddress: STRANGER.signer.address },
    codespace: 'query',
    code: 3,
  },
  {
    name: 'service_id',
    change: { serviceId: 'another-service' },
    codespace: 'relayer_proxy',
    code: 3,
  },
  { name: 'session_id', change: { sessionId: 'ab'.repeat(32) }, ...mismatch },
  { name: 'session_start_block_height', change: { sessionStartBlockHeight: 3n }, ...mismatch },
  { name: 'session_end_block_height', change: { sessionEndBlockHeight: 5n }, ...mismatch },
  {
    name: 'heights far ahead',
    change: { sessionStartBlockHeight: 1_000_001n, sessionEndBlockHeight: 1_000_004n },
    ...mismatch,
  },
  {
    name: 'heights beyond numbers',
    change: { sessionStartBlockHeight: 2n ** 63n - 4n, sessionEndBlockHeight: 2n ** 63n - 1n },
    ...mismatch,
  },
]

type Meta = NonNullable<RelayRequest['meta']>
type AlterRequest = (request: RelayRequest, application: Uint8Array) => RelayRequest

function withMeta(change: (meta: Meta, request: RelayRequest) => Partial<Meta>): AlterRequest {
  return (request) => {
    const { meta } = request
    return meta === undefined
      ? request
      : { ...request, meta: { ...meta, ...change(meta, request) } }
  }
}

/** After it was signed. */
export const FALSE_REQUESTS: readonly {
  readonly name: string
  readonly alter: AlterRequest
  readonly codespace: string
  readonly code: number
}[] = [
  {
    name: 'supplier address',
    alter: withMeta(() => ({ supplierOperatorAddress: STRANGER.signer.address })),
    codespace: 'relayer_proxy',
    code: 9,
  },
  {
    name: 'signature',
    alter: withMeta(({ signature }) => ({ signature: flipped(signature, 75) })),
    codespace: 'rings',
    code: 3,
  },
  {
    name: 'no signature',
    alter: withMeta(() => ({ signature: NOTHING })),
    codespace: 'service',
    code: 1111,
  },
  {
    name: 'a good ring with a foreign member',
    alter: (request, application) =>
      withMeta(() => ({
        signature: signRing(
          { curve, randomBytes: (n) => new Uint8Array(n).fill(7) },
          requestSignableHash(request),
          [application, STRANGER.signer.publicKey],
          STRANGER.secret.privateKey,
        ),
      }))(request, application),
    codespace: 'rings',
    code: 3,
  },
  {
    name: 'payload',
    alter: (request) => ({ ...request, payload: concat(request.payload, utf8('x')) }),
    codespace: 'rings',
    code: 3,
  },
]

type AlterResponse = (response: RelayResponse) => RelayResponse

function withSignature(signature: (response: RelayResponse) => Uint8Array): AlterResponse {
  return (response) => ({
    ...response,
    meta: {
      sessionHeader: response.meta?.sessionHeader,
      supplierOperatorSignature: signature(response),
    },
  })
}

function withHeader(change: Partial<SessionHeader>): AlterResponse {
  return ({ meta, ...response }) => ({
    ...response,
    meta: {
      sessionHeader: { ...(meta?.sessionHeader ?? NO_HEADER), ...change },
      supplierOperatorSignature: meta?.supplierOperatorSignature ?? NOTHING,
    },
  })
}

const OTHER_SESSION = 'the response is of another session'
const BAD_SIGNATURE = "the supplier's signature is not good"
/** What may happen to a response on its way, and what the gateway says of it. */
export const FALSE_RESPONSES: readonly (readonly [
  name: string,
  alter: AlterResponse,
  fault: string,
])[] = [
  ['nothing', (response) => response, ''],
  [
    'signature',
    withSignature(({ meta }) => flipped(meta?.supplierOperatorSignature ?? NOTHING, 40)),
    BAD_SIGNATURE,
  ],
  [
    'signer',
    withSignature((response) => STRANGER.signer.sign(responseDigest(response))),
    BAD_SIGNATURE,
  ],
  ['no signature', withSignature(() => NOTHING), 'the response is not signed'],
  [
    'payload',
    (response) => ({ ...response, payload: flipped(response.payload, 20) }),
    'the payload is not the signed one',
  ],
  [
    'payload hash',
    (response) => ({ ...response, payloadHash: flipped(response.payloadHash ?? NOTHING) }),
    BAD_SIGNATURE,
  ],
  ['no payload hash', (response) => ({ ...response, payloadHash: undefined }), BAD_SIGNATURE],
  [
    'an error put in',
    (response) => ({
      ...response,
      relayMinerError: { codespace: 'relayer_proxy', code: 5, description: '', message: '' },
    }),
    BAD_SIGNATURE,
  ],
  [
    'application_address',
    withHeader({ applicationAddress: STRANGER.signer.address }),
    OTHER_SESSION,
  ],
  ['service_id', withHeader({ serviceId: 'another-service' }), OTHER_SESSION],
  ['session_id', withHeader({ sessionId: 'ab'.repeat(32) }), OTHER_SESSION],
  ['session_start_block_height', withHeader({ sessionStartBlockHeight: 2n }), OTHER_SESSION],
  ['session_end_block_height', withHeader({ sessionEndBlockHeight: 5n }), OTHER_SESSION],
]

export interface FalseProof {
  readonly name: string
  /** @param foreign a relay of another session. */
  readonly alter: (proof: CompactProof, foreign: Uint8Array) => CompactProof
  /** In what the chain says; of a transaction that is refused, or of a proof that is found invalid. */
  readonly text: string
}

function withRelay(change: (relay: Relay) => Relay): FalseProof['alter'] {
  return (proof) => ({
    ...proof,
    closestValueHash: concat(
      encodeRelay(change(decodeRelay(provenValue(proof)))),
      proof.closestValueHash.subarray(-16),
    ),
  })
}

function response(alter: AlterResponse): FalseProof['alter'] {
  return withRelay(({ req, res }) => ({ req, res: res && alter(res) }))
}

function request(change: (request: RelayRequest) => RelayRequest): FalseProof['alter'] {
  return withRelay(({ req, res }) => ({ req: req && change(req), res }))
}

/** Refused in their transaction: their form shows it. */
export const MALFORMED_PROOFS: readonly FalseProof[] = [
  {
    name: 'bit mask',
    alter: (proof) => ({ ...proof, bitMask: proof.bitMask.map((byte) => byte ^ 0x80) }),
    text: 'failed to decompact',
  },
  {
    name: 'a longer bit mask',
    alter: (proof) => ({ ...proof, bitMask: concat(proof.bitMask, new Uint8Array(1)) }),
    text: 'failed to decompact',
  },
  {
    name: 'one side node less',
    alter: (proof) => ({ ...proof, sideNodes: proof.sideNodes.slice(1) }),
    text: 'failed to decompact',
  },
  {
    name: 'value that is no relay',
    alter: (proof) => ({ ...proof, closestValueHash: new Uint8Array(40).fill(0xff) }),
    text: 'failed to unmarshal relay',
  },
  {
    name: 'a relay of another session',
    alter: (proof, foreign) => ({
      ...proof,
      closestValueHash: concat(foreign, proof.closestValueHash.subarray(-16)),
    }),
    text: 'session headers session start heights mismatch',
  },
  {
    name: 'a relay for another supplier',
    alter: request((req) =>
      withMeta(() => ({ supplierOperatorAddress: STRANGER.signer.address }))(req, NOTHING),
    ),
    text: 'supplier type mismatch',
  },
  {
    name: 'a response of another session',
    alter: response(withHeader({ sessionId: 'ab'.repeat(32) })),
    text: 'session headers session IDs mismatch',
  },
  {
    name: 'a response without a signature',
    alter: response(withSignature(() => NOTHING)),
    text: 'missing supplier operator signature',
  },
]

const NO_PROOF = 'invalid closest merkle proof'
/** Taken by a block, and found invalid at its end. */
export const INVALID_PROOFS: readonly FalseProof[] = [
  {
    name: 'path',
    alter: (proof) => ({ ...proof, path: flipped(proof.path, 31) }),
    text: 'does not match one expected by the onchain protocol',
  },
  {
    name: 'closest path',
    alter: (proof) => ({ ...proof, closestPath: flipped(proof.closestPath, 31) }),
    text: NO_PROOF,
  },
  {
    name: 'weight',
    alter: (proof) => ({
      ...proof,
      closestValueHash: concat(provenValue(proof), u64(8_000), u64(1)),
    }),
    text: NO_PROOF,
  },
  {
    name: 'side node',
    alter: ({ sideNodes: [first = NOTHING, ...others], ...proof }) => ({
      ...proof,
      sideNodes: [flipped(first), ...others],
    }),
    text: NO_PROOF,
  },
  { name: 'depth', alter: (proof) => ({ ...proof, depth: 256 }), text: NO_PROOF },
  {
    name: 'flipped bits',
    alter: (proof) => ({
      ...proof,
      flippedBits: proof.flippedBits.length === 0 ? [0] : proof.flippedBits.slice(1),
    }),
    text: NO_PROOF,
  },
  {
    name: 'request',
    alter: request((req) => ({ ...req, payload: flipped(req.payload, 20) })),
    text: 'invalid relay request signature',
  },
  {
    name: 'payload hash',
    alter: response((res) => ({ ...res, payloadHash: flipped(res.payloadHash ?? NOTHING) })),
    text: 'invalid signature',
  },
  {
    name: 'a response signed by a stranger',
    alter: response(withSignature((res) => STRANGER.signer.sign(responseDigest(res)))),
    text: 'invalid signature',
  },
]
