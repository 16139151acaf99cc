/**
 * What to do at a block: a pure function from the latest committed height and the sessions we hold.
 *
 * The same arguments give the same plan, so the caller may crash between any two steps; the chain's
 * state, read by the actions themselves, is the only judge of success. A transaction sent while `now`
 * is the latest height lands in `now + 1` or later and the chain accepts `height <= close`, so the
 * last useful height to send is `close - 1`. Sent before the window opens it would pass CheckTx, but
 * its simulation would fail, so we wait for `open` unless the window is too short for that.
 * Source: poktroll x/shared/types/session.go. Tests: test/miner/plan.ts.
 */
import { unreachable } from '../base/errors.ts'
import { type Address, type Height, height, offset } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Windows } from '../protocol/windows.ts'
import type { SessionRecord } from '../store/sessions.ts'
import { grouped } from './group.ts'

export interface SessionView {
  readonly record: SessionRecord
  /** By the parameters at the session's END. */
  readonly windows: Windows
  /** Relays of the session that are being answered. */
  readonly inFlight: number
}

/** When an action is carried out. */
export interface Moment {
  /** The newest block: what the chain is asked for is asked of the state at its height. */
  readonly block: Block
  /** Of the action's sessions, which all have the same end. */
  readonly windows: Windows
  /** Every session in work by its operator, as it was when the action was planned. */
  readonly open: ReadonlyMap<Address, readonly SessionRecord[]>
}

export type Action =
  /** Stop inserting, fix the root. `cut`: cancel the relays that are still running. */
  | { readonly do: 'seal'; readonly session: SessionRecord; readonly cut: boolean }
  /** Claim what is worth it and affordable; sessions of one operator and one session end. */
  | { readonly do: 'claim'; readonly sessions: readonly SessionRecord[] }
  /** Look after what was sent; sessions of one operator and one session end. */
  | { readonly do: 'confirm-claim'; readonly sessions: readonly SessionRecord[] }
  /** Prove what the chain asks for; sessions of one operator and one session end. */
  | { readonly do: 'prove'; readonly sessions: readonly SessionRecord[] }
  | { readonly do: 'confirm-proof'; readonly sessions: readonly SessionRecord[] }
  /** Read how the chain settled, book it, drop the relays; sessions of one session end. */
  | { readonly do: 'settle'; readonly sessions: readonly SessionRecord[] }
  | { readonly do: 'abandon'; readonly session: SessionRecord; readonly because: 'claim-missed' }

/** When a session is sealed: from `first` on if no relay of it is running, at `last` in any case. */
export function sealHeights(windows: Windows): { first: Height; last: Height } {
  const lastSend = offset(windows.claimClose, -1)
  const first = height(Math.min(windows.claimOpen, lastSend))
  return { first, last: height(Math.max(first, windows.claimClose - 2)) }
}

/** The first height at which a proof is sent: the window's opening, a block before it if it is short. */
export function proveFrom(windows: Windows): Height {
  return windows.proofOpen <= offset(windows.proofClose, -1)
    ? windows.proofOpen
    : offset(windows.proofOpen, -1)
}

type Together = 'claim' | 'confirm-claim' | 'prove' | 'confirm-proof' | 'settle'

/** What is done for several sessions at once, in the order in which it is begun, and for which. */
const TOGETHER: readonly (readonly [Together, (session: SessionRecord) => string])[] = [
  ['confirm-claim', byTransaction],
  ['confirm-proof', byTransaction],
  ['claim', byTransaction],
  ['prove', byTransaction],
  ['settle', byEnd],
]

export function plan(now: Height, sessions: readonly SessionView[]): Action[] {
  const actions: Action[] = []
  const waiting = new Map<Together, SessionRecord[]>(TOGETHER.map(([name]) => [name, []]))
  for (const view of sessions) {
    const next = step(now, view)
    if (typeof next === 'string') waiting.get(next)?.push(view.record)
    else if (next !== undefined) actions.push(next)
  }
  for (const [name, nameOf] of TOGETHER) {
    for (const group of grouped(waiting.get(name) ?? [], nameOf))
      actions.push({ do: name, sessions: group })
  }
  return actions
}

export function sessionsOf(action: Action): readonly SessionRecord[] {
  return 'session' in action ? [action.session] : action.sessions
}

function step(now: Height, view: SessionView): Action | Together | undefined {
  const { record: session, windows } = view
  const { state } = session
  switch (state.at) {
    case 'serving': {
      const { first, last } = sealHeights(windows)
      if (now < first || (now < last && view.inFlight > 0)) return undefined
      return { do: 'seal', session, cut: view.inFlight > 0 }
    }
    case 'sealed':
      if (now < windows.claimClose) return 'claim'
      return { do: 'abandon', session, because: 'claim-missed' }
    case 'claiming':
      // Once settled a claim is gone from the chain's state, whether or not it was ever there.
      return now >= windows.settlement ? 'settle' : 'confirm-claim'
    case 'claimed':
    case 'unproven':
      // What needed no proof is looked at again until the window closes: the chain asks with the
      // parameters of the settlement's height, which governance may have changed.
      if (now >= windows.settlement) return 'settle'
      return now >= proveFrom(windows) && now < windows.proofClose ? 'prove' : undefined
    case 'proving':
      return now >= windows.settlement ? 'settle' : 'confirm-proof'
    case 'proven':
      return now >= windows.settlement ? 'settle' : undefined
    case 'done':
      return undefined
    default:
      return unreachable(state)
  }
}

/** One transaction carries the messages of one operator for one session end. */
function byTransaction({ key }: SessionRecord): string {
  return `${key.operator} ${key.end}`
}

/** What ends together settles together: one block is read for all of them. */
function byEnd({ key }: SessionRecord): string {
  return String(key.end)
}
