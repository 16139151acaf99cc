/**
 * Why a relay is not answered, in our words and in those of the wire.
 *
 * `WIRE` gives the registered codespace, code and constant text that gateways know for each of our
 * codes. Texts avoid the phrases by which gateways recognise broken connections.
 * Source: poktroll pkg/relayer/proxy/errors.go, relay_authenticator/errors.go. Tests: test/relay/errors.ts.
 */
import { SupplierError } from '../base/errors.ts'
import type { RelayMinerError } from '../protocol/relay.ts'

export const RELAY_ERRORS = {
  UNDECODABLE: 'What arrived is not a relay request.',
  TOO_LARGE: 'The request is larger than relay.bodyMax.',
  INVALID: 'A field that every relay request needs is missing or malformed.',
  FOREIGN_SUPPLIER:
    'The relay is for another supplier. Check the operator key and the staked address.',
  FOREIGN_SERVICE: 'The relay is for a service that is not configured here.',
  EXPIRED: 'The session is past the height up to which relays are served.',
  SESSION_MISMATCH: "The relay's session is not the one that the chain knows.",
  NOT_IN_SESSION: 'The supplier was not selected for this session.',
  RING_UNKNOWN:
    'Who may sign for the application is not known: an account has no public key on the chain.',
  RING_INVALID: 'The signature of the application or its gateway is not good.',
  REPLAYED: 'The same signed request was answered before, or is being answered.',
  SESSION_UNKNOWN:
    'The chain does not give this session. Check that the application is staked for the service.',
  CHAIN_SILENT: 'The chain node does not answer, so the relay cannot be checked.',
  OVERSERVICED: "The application's stake does not pay for another relay in this session.",
  REFUSED:
    'The machine cannot answer in time: busy, yielding to its owner, stopping, or asked by too many strangers.',
  ENGINE: 'The inference engine failed.',
  LATE: 'The answer was not ready in time.',
} as const

export type RelayCode = keyof typeof RELAY_ERRORS

export class RelayError extends SupplierError<RelayCode> {}

type Wire = Pick<RelayMinerError, 'codespace' | 'code' | 'description'>

const PROXY = 'relayer_proxy'
const AUTHENTICATOR = 'relay_authenticator'
const INVALID_SESSION = {
  codespace: AUTHENTICATOR,
  code: 1,
  description: 'invalid session in relayer request',
}
const TIMED_OUT = { codespace: PROXY, code: 10, description: 'relayer proxy request timed out' }
const INTERNAL = { codespace: PROXY, code: 5, description: 'internal error' }

export const WIRE: Readonly<Record<RelayCode, Wire>> = {
  UNDECODABLE: { codespace: PROXY, code: 14, description: 'failed to unmarshal relay request' },
  TOO_LARGE: { codespace: PROXY, code: 13, description: 'request limit exceed' },
  INVALID: { codespace: 'service', code: 1111, description: 'invalid relay request' },
  FOREIGN_SUPPLIER: { codespace: PROXY, code: 9, description: 'supplier(s) not reachable' },
  FOREIGN_SERVICE: {
    codespace: PROXY,
    code: 3,
    description: 'service endpoint not handled by relayer proxy',
  },
  EXPIRED: INVALID_SESSION,
  SESSION_MISMATCH: INVALID_SESSION,
  NOT_IN_SESSION: {
    codespace: AUTHENTICATOR,
    code: 2,
    description: 'supplier does not belong to session',
  },
  RING_UNKNOWN: { codespace: 'rings', code: 2, description: 'invalid relay request' },
  RING_INVALID: { codespace: 'rings', code: 3, description: 'invalid relay request signature' },
  REPLAYED: { codespace: AUTHENTICATOR, code: 4, description: 'invalid relay request' },
  SESSION_UNKNOWN: {
    codespace: 'query',
    code: 3,
    description: 'error while trying to retrieve a session',
  },
  CHAIN_SILENT: INTERNAL,
  OVERSERVICED: {
    codespace: PROXY,
    code: 7,
    description: 'offchain rate limit hit by relayer proxy',
  },
  REFUSED: TIMED_OUT,
  ENGINE: INTERNAL,
  LATE: TIMED_OUT,
}

/** A context may quote what a stranger sent, and goes back twice: without a limit, as much as he likes. */
const CONTEXT_MAX = 300

/** `<context>: <registered text>`, the context first, as the reference wraps its errors. */
export function wireError(code: RelayCode, context: string): RelayMinerError {
  const wire = WIRE[code]
  const message =
    context === '' || context === wire.description
      ? wire.description
      : `${context.slice(0, CONTEXT_MAX)}: ${wire.description}`
  return { ...wire, message }
}
