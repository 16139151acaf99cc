/**
 * How the simulated chain says no, with the codes and the wording of the real one.
 *
 * A registered error reads `context: description` and keeps its codespace and code. What a message
 * handler answers is a gRPC status, which is no registered error: it arrives as code 1 of codespace
 * `undefined`, so only its text tells what was wrong. Source: poktroll x/<module>/types/errors.go,
 * cosmos-sdk types/errors. Tested by test/devnet/ante.ts, test/devnet/claims.ts, test/devnet/suppliers.ts.
 */
import { SupplierError } from '../base/errors.ts'

export const DEVNET_ERRORS = {
  REFUSED: 'The simulated chain refused a transaction or a query, as the real one would.',
  PARAMS: 'A parameter of the simulated chain cannot be set to that value.',
  GENESIS: 'The simulated chain cannot start from this state.',
  LISTEN: 'The simulated chain cannot listen on that port. Choose another one.',
} as const

export class DevnetError extends SupplierError<keyof typeof DEVNET_ERRORS> {}

/** An answer with a code; `message` is the log that the sender reads. */
export class Refusal extends DevnetError {
  readonly codespace: string
  readonly number: number

  constructor(codespace: string, number: number, log: string) {
    super('REFUSED', log, { data: { codespace, code: number } })
    this.codespace = codespace
    this.number = number
  }
}

const DESCRIPTIONS = {
  sdk: {
    2: 'tx parse error',
    4: 'unauthorized',
    5: 'insufficient funds',
    6: 'unknown request',
    7: 'invalid address',
    8: 'invalid pubkey',
    9: 'unknown address',
    10: 'invalid coins',
    11: 'out of gas',
    12: 'memo too large',
    13: 'insufficient fee',
    15: 'no signatures supplied',
    18: 'invalid request',
    22: 'key not found',
    26: 'invalid height',
    30: 'tx timeout height',
    32: 'incorrect account sequence',
    38: 'not found',
    42: 'tx timeout',
  },
  proof: {
    1101: 'invalid address',
    1102: 'supplier not found',
    1103: 'invalid service in supplier',
    1104: 'invalid root hash',
    1106: 'claim not found',
    1107: 'proof not found',
    1108: 'invalid proof',
    1109: 'invalid relay',
    1114: 'public key not found',
    1115: 'invalid session header',
    1116: 'invalid session ID',
    1117: 'invalid session end height',
    1118: 'invalid session start height',
    1121: "claim attempted outside of the session's claim window",
    1122: "proof attempted outside of the session's proof window",
    1123: 'supplier operator address does not match the claim or proof',
    1124: 'account not found',
    1125: 'service not found',
    1126: 'mismatch: claim compute units != number of relays * service compute units per relay',
    1127: 'not enough funds to submit proof',
    1128: 'failed to deduct proof submission fee',
    1129: 'proof not required',
    1130: 'invalid relay difficulty',
  },
  session: {
    1101: 'error during session hydration',
    1102: 'application for session not found not found ',
    1103: 'application in session not staked for requested service',
    1104: 'no suppliers not found for session',
    1105: 'invalid application address for session',
    1107: 'invalid block height for session',
    1109: 'application is not active',
  },
  supplier: {
    1101: 'invalid supplier stake',
    1102: 'invalid address',
    1103: 'supplier not found',
    1104: 'invalid service config',
    1105: 'supplier is in unbonding period',
    1106: 'service not found',
  },
  shared: {
    1105: 'unauthorized supplier update',
    1106: 'invalid revenue share configuration',
    1107: 'invalid service',
    1108: 'invalid service ID',
    1109: 'invalid service name',
    1111: 'invalid service metadata',
  },
  service: {
    1102: 'invalid address when adding a new service',
    1108: 'not enough funds to add service',
    1110: 'invalid relay response',
    1111: 'invalid relay request',
    1113: 'invalid owner address',
    1117: 'service not found',
  },
  application: {
    1101: 'invalid application stake',
    1102: 'invalid application address',
    1104: 'application not found',
    1106: 'invalid service configs',
    1107: 'gateway not found',
    1108: 'invalid gateway address',
    1109: 'application already delegated to gateway',
    1110: 'maximum number of delegated gateways reached',
    1111: 'application not delegated to gateway',
    1112: 'application is in unbonding period',
    1118: 'invalid per-session spend limit',
  },
  gateway: {
    1101: 'invalid gateway address',
    1102: 'invalid gateway stake',
    1104: 'gateway not found',
    1107: 'gateway is in unbonding period',
    1108: 'gateway is no longer active',
  },
  rings: {
    2: 'invalid relay request',
    3: 'invalid relay request signature',
  },
  tokenomics: {
    1102: "provided claim's session header is nil",
    1105: 'supplier not found',
    1106: 'application not found',
    1109: 'the root hash in the claim is invalid',
    1110: 'application stake cannot be reduced to a -ve amount',
    1115: 'service not found',
    1116: 'constraint violation',
    1117: 'internal claim settlement error',
    1118: 'internal token logic module error',
    1119: 'failed to process token logic module',
  },
} as const

type Descriptions = typeof DESCRIPTIONS
export type Codespace = keyof Descriptions

/** `context: description` with its codespace and code; the bare description without a context. */
export function registered<S extends Codespace>(
  codespace: S,
  code: keyof Descriptions[S] & number,
  context?: string,
): Refusal {
  const description = String(DESCRIPTIONS[codespace][code])
  const log = context === undefined ? description : `${context}: ${description}`
  return new Refusal(codespace, code, log)
}

export type Status =
  | 'InvalidArgument'
  | 'NotFound'
  | 'FailedPrecondition'
  | 'PermissionDenied'
  | 'AlreadyExists'
  | 'Internal'

/** What a message handler answers: whatever the reason, code 1 of codespace `undefined`. */
export function status(code: Status, reason: Refusal | string): Refusal {
  const text = typeof reason === 'string' ? reason : reason.message
  return new Refusal('undefined', 1, `rpc error: code = ${code} desc = ${text}`)
}

/** Runs `work` and turns what it refuses with into a status. */
export function statusOf<T>(code: Status, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof Refusal) throw status(code, error)
    throw error
  }
}

/** A text as Go's `%q` prints it. */
export function quoted(text: string): string {
  return JSON.stringify(text)
}
