/**
 * Windows: until when a session's relays are taken, when its claim and its proof may be sent, which
 * block seeds the proof, and when the claim is settled.
 *
 * Both windows include both ends, and the height that counts is that of the block which holds the
 * transaction: what is sent while `h` is the latest block lands in `h + 1` at the earliest.
 * Source: pokt-network/poktroll x/shared/types/session.go. Tested by test/protocol/windows.ts.
 */
import type { Height } from '../base/units.ts'
import { ProtocolError } from './errors.ts'
import { blocks, heightOrFault, type SharedParams } from './session.ts'

export interface Windows {
  /** Last height at which a relay of the session may be served. */
  graceEnd: Height
  claimOpen: Height
  claimClose: Height
  proofOpen: Height
  proofClose: Height
  /** Height of the block whose hash decides whether and what must be proved: `proofOpen − 1`. */
  seed: Height
  /** The claim is paid or expires at the end of this block; equal to `proofClose`. */
  settlement: Height
}

/**
 * @param params as of the session's END height, not the latest: a change of parameters in between
 *   would move the windows away from where the chain enforces them
 * @throws ProtocolError PARAMS
 */
export function windowsOf(sessionEnd: Height, params: SharedParams): Windows {
  const claimOpen = sessionEnd + blocks(params.claimWindowOpenOffsetBlocks) + 1
  const claimClose = claimOpen + blocks(params.claimWindowCloseOffsetBlocks)
  const proofOpen = claimClose + blocks(params.proofWindowOpenOffsetBlocks)
  const proofClose = proofOpen + blocks(params.proofWindowCloseOffsetBlocks)
  return {
    graceEnd: heightOrFault(sessionEnd + blocks(params.gracePeriodEndOffsetBlocks)),
    claimOpen: heightOrFault(claimOpen),
    claimClose: heightOrFault(claimClose),
    proofOpen: heightOrFault(proofOpen),
    proofClose: heightOrFault(proofClose),
    seed: heightOrFault(proofOpen - 1),
    settlement: heightOrFault(sessionEnd + windowBlocks(params) + 1),
  }
}

/** How many sessions can have ended and still be unsettled: rounded up. @throws ProtocolError PARAMS */
export function pendingSessions(params: SharedParams): number {
  const length = blocks(params.numBlocksPerSession)
  if (length < 1) throw new ProtocolError('PARAMS', 'a session has no blocks')
  return Math.ceil(windowBlocks(params) / length)
}

function windowBlocks(params: SharedParams): number {
  return (
    blocks(params.claimWindowOpenOffsetBlocks) +
    blocks(params.claimWindowCloseOffsetBlocks) +
    blocks(params.proofWindowOpenOffsetBlocks) +
    blocks(params.proofWindowCloseOffsetBlocks)
  )
}
