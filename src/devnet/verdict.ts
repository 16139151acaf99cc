/**
 * Proofs at the end of their block: signatures, path and trie, and the status they give their claim.
 *
 * A proof whose transaction went well may still be found invalid here. It is deleted either way; what
 * stays is the claim's status. Looser than a careful verifier, because the chain is: bytes after the
 * ring signature do not count, any subset of the allowed keys may form the ring, and the header is the
 * one in the message. Source: poktroll x/proof/keeper/validate_proofs.go,
 * x/proof/keeper/proof_validation.go, pkg/crypto/rings/client.go. Tested by test/devnet/verdicts.ts.
 */
import { equal, hex } from '../base/bytes.ts'
import { PLACEHOLDER_KEY, parseRing, type Ring, type RingVerifier } from '../crypto/ring.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Claim, Proof } from '../protocol/gen/pocket/proof/proof.ts'
import type { Relay } from '../protocol/gen/pocket/service/relay.ts'
import { requestSignableHash, responseDigest } from '../protocol/relay.ts'
import { proofPath } from '../protocol/rewards.ts'
import { gridAt } from '../protocol/session.ts'
import { verifyProofLenient } from '../smst/proof.ts'
import { headerOf, windowsAround } from './claims.ts'
import { quoted, Refusal, registered } from './errors.ts'
import { typedEvent } from './events.ts'
import { provenRelay } from './proofs.ts'
import { blockHashAt, type Context, heightOf, paramsOf, type State } from './state.ts'
import { headerFault } from './validate.ts'

/** Who can tell a good signature from a bad one. */
export interface Verifiers {
  readonly curve: Curve
  readonly rings: RingVerifier
}

/** Judges every stored proof and deletes it. */
export function judgeProofs(context: Context, verifiers: Verifiers): void {
  const { state } = context
  for (const [key, proof] of state.proofs.entries()) {
    state.proofs.delete(key)
    const claim = state.claims.get(key)
    if (claim === undefined) continue
    const fault = verdict(context, claim, proof, verifiers)
    const proofValidationStatus = fault === undefined ? 1 : 2
    state.claims.set(key, { ...claim, proofValidationStatus })
    const header = headerOf(claim)
    context.events.push(
      typedEvent('pocket.proof.EventProofValidityChecked', {
        application_address: header.applicationAddress,
        block_height: BigInt(context.height),
        claim_proof_status_int: proofValidationStatus,
        failure_reason: fault ?? '',
        service_id: header.serviceId,
        session_end_block_height: header.sessionEndBlockHeight,
        supplier_operator_address: claim.supplierOperatorAddress,
      }),
    )
  }
}

/** Why the proof is invalid; undefined when it is valid. */
export function verdict(
  context: Context,
  claim: Claim,
  proof: Proof,
  verifiers: Verifiers,
): string | undefined {
  const header = headerOf({ ...proof, proof: proof.closestMerkleProof })
  const { seed } = windowsAround(context.state, header.sessionEndBlockHeight)
  const path = proofPath(blockHashAt(context.state, seed), header.sessionId)
  try {
    judge(context.state, claim, proof, path, verifiers)
    return undefined
  } catch (error) {
    if (error instanceof Refusal) return error.message
    throw error
  }
}

/** @param path where the proof must lead @throws Refusal of codespace proof, service or rings */
export function judge(
  state: State,
  claim: Claim,
  proof: Proof,
  path: Uint8Array,
  verifiers: Verifiers,
): void {
  const operatorKey = keyOf(state, proof.supplierOperatorAddress)
  const { trie, relay } = provenRelay(proof)
  checkRing(state, relay, verifiers)
  const response = relay.res
  const signature = response?.meta?.supplierOperatorSignature ?? new Uint8Array(0)
  if (
    response === undefined ||
    !verifiers.curve.verify(responseDigest(response), signature, operatorKey)
  )
    throw registered('service', 1110, 'invalid signature')
  if (!equal(trie.path, path)) {
    const reason = `the path of the proof provided (${hex(trie.path)}) does not match one expected by the onchain protocol (${hex(path)})`
    throw registered('proof', 1108, reason)
  }
  if (!verifyProofLenient(trie, claim.rootHash))
    throw registered('proof', 1108, 'invalid closest merkle proof')
}

function keyOf(state: State, address: string): Uint8Array {
  const account = state.accounts.get(address)
  if (account === undefined)
    throw registered('proof', 1124, `account not found for address ${address}`)
  if (account.publicKey === undefined) throw registered('proof', 1114)
  return account.publicKey
}

function checkRing(state: State, relay: Relay, { rings }: Verifiers): void {
  const request = relay.req
  const header = request?.meta?.sessionHeader
  if (request === undefined || header === undefined)
    throw registered('rings', 2, 'invalid session header: nil')
  const fault = headerFault(header)
  if (fault !== undefined) throw registered('rings', 2, `invalid session header: ${fault}`)
  const ring = readRing(request.meta?.signature ?? new Uint8Array(0))
  const application = header.applicationAddress
  const allowed = allowedKeys(state, application, header.sessionEndBlockHeight)
  if (!ring.members.every(({ key }) => allowed.has(hex(key)))) {
    const reason = `ring signature in the relay request does not match the expected one for the app ${application}`
    throw registered('rings', 3, reason)
  }
  if (!rings.verify(requestSignableHash(request), ring))
    throw registered('rings', 3, 'invalid relay request signature or bytes')
}

/** Whatever follows the last member is ignored. */
function readRing(bytes: Uint8Array): Ring {
  try {
    const count = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0)
    return parseRing(bytes.subarray(0, 69 + 65 * count))
  } catch (error) {
    const reason = `error deserializing ring signature: ${(error as Error).message}`
    throw registered('rings', 3, reason)
  }
}

/** Public keys in hex: the application's, and those of its gateways in the session of `end`. */
function allowedKeys(state: State, address: string, end: bigint): Set<string> {
  const refused = (reason: string) =>
    registered('rings', 2, `error getting ring for application address ${address}: ${reason}`)
  const application = state.applications.get(address)
  if (application === undefined)
    throw refused(`app address: ${quoted(address)}: application not found`)
  const sessionEnd = gridAt(heightOf(end), paramsOf(state).shared).end
  const gateways = gatewaysAt(application, sessionEnd)
  const keys = new Set<string>()
  if (gateways.length === 0) keys.add(hex(PLACEHOLDER_KEY))
  try {
    for (const member of [address, ...gateways]) keys.add(hex(keyOf(state, member)))
  } catch (error) {
    throw refused((error as Error).message)
  }
  return keys
}

/** Those delegated to now, and those left in that session or later. */
function gatewaysAt(application: Application, sessionEnd: number): string[] {
  const left = [...application.pendingUndelegations]
    .filter(([end]) => end >= BigInt(sessionEnd))
    .flatMap(([, list]) => list.gatewayAddresses)
  return [...application.delegateeGatewayAddresses, ...left]
}
