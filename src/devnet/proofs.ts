/**
 * Proofs in their transaction: what MsgSubmitProof is checked for, in the chain's order.
 *
 * Only the form is checked here, and that it belongs to the session and the claim; signatures and the
 * trie are judged at the end of the block (verdict.ts). The session is that of the header's start, so a
 * wrong end passes here. Source: poktroll x/proof/keeper/msg_server_submit_proof.go,
 * x/proof/keeper/proof_validation.go. Tested by test/devnet/proofs.ts, test/devnet/verdicts.ts.
 */
import { hex, sha256 } from '../base/bytes.ts'
import { fromCoin } from '../base/units.ts'
import type { MsgSubmitProof, Proof } from '../protocol/gen/pocket/proof/proof.ts'
import type { Relay } from '../protocol/gen/pocket/service/relay.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import { decodeRelay } from '../protocol/relay.ts'
import { isApplicable } from '../protocol/rewards.ts'
import { decodeWireProof, type WireProof } from '../smst/gob.ts'
import { type ChainProof, decompactProof, provenValue } from '../smst/proof.ts'
import { moduleAddress, transfer } from './bank.ts'
import { claimFields, headerOf, requirementOf, windowsAround, worthOf } from './claims.ts'
import { difficultyAt } from './difficulty.ts'
import { quoted, Refusal, registered, status, statusOf } from './errors.ts'
import { coinText, typedEvent } from './events.ts'
import { sessionOfHeader } from './session.ts'
import { balanceOf, type Context, claimKey, heightOf, paramsOf } from './state.ts'
import { addressFault, headerFault } from './validate.ts'

/** @throws Refusal of codespace sdk (7) or proof */
export function checkSubmitProof(message: MsgSubmitProof): void {
  const { supplierOperatorAddress: operator, sessionHeader: header } = message
  const address = addressFault(operator)
  if (address !== undefined)
    throw registered('sdk', 7, `supplier operator address ${quoted(operator)}, error: ${address}`)
  if (header === undefined) throw registered('proof', 1115, 'session header is nil')
  const fault = headerFault(header)
  if (fault !== undefined) throw registered('proof', 1115, fault)
  if (message.proof.length === 0) throw registered('proof', 1108, 'proof cannot be empty')
}

/** @throws Refusal as the real handler answers */
export function submitProof(context: Context, message: MsgSubmitProof): void {
  const { state } = context
  const { supplierOperatorAddress: operator } = message
  const header = headerOf(message)
  const proof: Proof = {
    supplierOperatorAddress: operator,
    sessionHeader: header,
    closestMerkleProof: message.proof,
  }
  statusOf('FailedPrecondition', () => checkForm(context, proof))
  const key = claimKey(header.sessionId, operator)
  const claim = state.claims.get(key)
  if (claim === undefined) throw status('FailedPrecondition', registered('proof', 1106))
  statusOf('FailedPrecondition', () => takeFee(context, operator))
  if (requirementOf(state, claim) === 'not-required')
    throw status('FailedPrecondition', registered('proof', 1129))
  const worth = statusOf('Internal', () => worthOf(state, claim))
  const isKnown = state.proofs.get(key) !== undefined
  state.proofs.set(key, proof)
  context.events.push(
    typedEvent(`pocket.proof.EventProof${isKnown ? 'Updated' : 'Submitted'}`, {
      ...claimFields(claim, worth, headerOf(claim).serviceId),
      claim_proof_status_int: 0,
    }),
  )
}

/** Everything but the fee and the requirement. @throws Refusal of codespace proof, session or service */
export function checkForm(context: Context, proof: Proof): void {
  const header = headerOf({ ...proof, proof: proof.closestMerkleProof })
  const operator = proof.supplierOperatorAddress
  const asked = { ...header, start: header.sessionStartBlockHeight }
  checkInSession(context, proof, sessionOfHeader(context, asked, operator).header ?? header)
}

/** What follows once the session is known. @throws Refusal of codespace proof or service */
export function checkInSession(context: Context, proof: Proof, session: SessionHeader): void {
  const operator = proof.supplierOperatorAddress
  checkProofWindow(context, session)
  const { relay, bytes } = provenRelay(proof)
  checkRequest(relay)
  if (relay.req?.meta?.supplierOperatorAddress !== operator)
    throw registered('proof', 1123, 'supplier type mismatch')
  checkResponse(relay)
  compareHeaders(session, relay.req.meta.sessionHeader)
  compareHeaders(session, relay.res?.meta?.sessionHeader)
  checkDifficulty(context, session, bytes)
  checkClaim(context, session, operator)
}

/** The proof's own account of the trie and the relay in it. @throws Refusal proof 1108, 1109 */
export function provenRelay(proof: Proof): { trie: ChainProof; relay: Relay; bytes: Uint8Array } {
  const trie = decompact(decode(proof.closestMerkleProof))
  const bytes = relayBytesOf(trie)
  try {
    return { trie, relay: decodeRelay(bytes), bytes }
  } catch (error) {
    throw registered('proof', 1109, `failed to unmarshal relay: ${(error as Error).message}`)
  }
}

function decode(gob: Uint8Array): WireProof {
  try {
    return decodeWireProof(gob)
  } catch {
    const reason = 'failed to unmarshal sparse compact merkle closest proof: unexpected EOF'
    throw registered('proof', 1108, reason)
  }
}

function decompact(wire: WireProof): ChainProof {
  try {
    return decompactProof(wire)
  } catch (error) {
    const reason = `failed to decompact sparse erkle closest proof: ${(error as Error).message}`
    throw registered('proof', 1108, reason)
  }
}

/** Without weight and count there is no value; Go falls over there, which fails the transaction too. */
function relayBytesOf(trie: ChainProof): Uint8Array {
  try {
    return provenValue(trie)
  } catch (error) {
    throw registered('proof', 1108, (error as Error).message)
  }
}

function checkProofWindow(context: Context, header: SessionHeader): void {
  const { proofOpen, proofClose } = windowsAround(context.state, header.sessionEndBlockHeight)
  const now = context.height
  if (now < proofOpen) {
    const reason = `current block height (${now}) is less than session's earliest proof commit height (${proofOpen})`
    throw registered('proof', 1122, reason)
  }
  if (now > proofClose) {
    const reason = `current block height (${now}) is greater than session proof window close height (${proofClose})`
    throw registered('proof', 1122, reason)
  }
}

function checkRequest(relay: Relay): void {
  const meta = relay.req?.meta
  if (meta?.sessionHeader === undefined) throw registered('service', 1111, 'missing session header')
  const fault = headerFault(meta.sessionHeader)
  if (fault !== undefined) throw registered('service', 1111, `invalid session header: ${fault}`)
  if (meta.signature.length === 0)
    throw registered('service', 1111, 'missing application signature')
  if (meta.supplierOperatorAddress === '')
    throw registered('service', 1111, 'relay metadata missing supplier operator address')
}

function checkResponse(relay: Relay): void {
  const meta = relay.res?.meta
  if (meta?.sessionHeader === undefined) throw registered('service', 1110, 'missing meta')
  const fault = headerFault(meta.sessionHeader)
  if (fault !== undefined) throw registered('service', 1110, `invalid session header: ${fault}`)
  if (meta.supplierOperatorSignature.length === 0)
    throw registered('service', 1110, 'missing supplier operator signature')
}

function compareHeaders(expected: SessionHeader, got: SessionHeader | undefined): void {
  const fields = [
    ['application addresses', 'expect', 'applicationAddress'],
    ['service IDs', 'expected', 'serviceId'],
    ['session start heights', 'expected', 'sessionStartBlockHeight'],
    ['session end heights', 'expected', 'sessionEndBlockHeight'],
    ['session IDs', 'expected', 'sessionId'],
  ] as const
  for (const [name, verb, field] of fields) {
    const [wanted, found] = [expected[field], got?.[field]]
    if (wanted === found) continue
    const reason = `session headers ${name} mismatch; ${verb}: ${shown(wanted)}, got: ${shown(found ?? '')}`
    throw registered('proof', 1109, reason)
  }
}

function shown(value: string | bigint): string {
  return typeof value === 'bigint' ? value.toString() : quoted(value)
}

function checkDifficulty(context: Context, header: SessionHeader, relayBytes: Uint8Array): void {
  const start = heightOf(header.sessionStartBlockHeight)
  const { targetHash: target } = difficultyAt(context.state, header.serviceId, start)
  const hash = sha256(relayBytes)
  let reason: string
  if (target.length !== 32)
    reason = `invalid RelayDifficultyTargetHash: (${hex(target)}); length wanted: 32; got: ${target.length}`
  else if (isApplicable(hash, target)) return
  else
    reason = `the difficulty relay being proven is (${multiplier(hash)}), and is smaller than the target difficulty (${multiplier(target)})`
  const detail = `failed to validate relay difficulty for service ${header.serviceId} due to: ${reason}: invalid relay`
  throw registered('proof', 1130, detail)
}

/** (2^256 − 1) / hash in lowest terms. */
function multiplier(hash: Uint8Array): string {
  const base = (1n << 256n) - 1n
  const number = BigInt(`0x${hex(hash)}`)
  let [a, b] = [base, number]
  while (b !== 0n) [a, b] = [b, a % b]
  return `${base / a}/${number / a}`
}

function checkClaim(context: Context, session: SessionHeader, operator: string): void {
  const claim = context.state.claims.get(claimKey(session.sessionId, operator))
  if (claim === undefined) {
    const reason = `no claim found for session ID ${quoted(session.sessionId)} and supplier ${quoted(operator)}`
    throw registered('proof', 1106, reason)
  }
  const claimed = headerOf(claim)
  const differs = (name: string, a: string | bigint, b: string | bigint) =>
    `claim ${name} ${shown(a)} does not match proof ${name} ${shown(b)}`
  if (claimed.sessionStartBlockHeight !== session.sessionStartBlockHeight) {
    const [a, b] = [claimed.sessionStartBlockHeight, session.sessionStartBlockHeight]
    throw registered('proof', 1118, differs('session start height', a, b))
  }
  if (claimed.sessionEndBlockHeight !== session.sessionEndBlockHeight) {
    const [a, b] = [claimed.sessionEndBlockHeight, session.sessionEndBlockHeight]
    throw registered('proof', 1117, differs('session end height', a, b))
  }
  if (claimed.applicationAddress !== session.applicationAddress) {
    const [a, b] = [claimed.applicationAddress, session.applicationAddress]
    throw registered('proof', 1101, differs('application address', a, b))
  }
  if (claimed.serviceId !== session.serviceId)
    throw registered('proof', 1103, differs('service ID', claimed.serviceId, session.serviceId))
}

/** The balance must be more than the fee, not just as much. @throws Refusal proof 1127, 1128 */
function takeFee(context: Context, operator: string): void {
  const fee = fromCoin(paramsOf(context.state).proof.proofSubmissionFee)
  const has = balanceOf(context.state, operator)
  if (has === 0n) throw registered('proof', 1127, 'account has no spendable coins')
  if (has <= fee) {
    const reason = `account has ${has}, but the proof submission fee is ${coinText(fee)}`
    throw registered('proof', 1127, reason)
  }
  try {
    transfer(context, operator, moduleAddress('proof'), fee)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw registered('proof', 1128, `account has ${has}, failed to deduct ${coinText(fee)}`)
  }
}
