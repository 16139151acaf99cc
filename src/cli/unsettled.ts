/**
 * What an operator would lose by unstaking now: sessions with relays that lie on this machine, and
 * claims that lie on the chain. Either is safe once the block that settles it is there.
 *
 * The running daemon knows the sessions; if none runs, its database does, and then nobody claims or
 * proves them. Tests: test/cli/unstake.ts.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { silentLog } from '../base/log.ts'
import { type Height, height } from '../base/units.ts'
import type { Query } from '../chain/query.ts'
import type { Config } from '../config/schema.ts'
import { OpsError } from '../ops/admin.ts'
import { type SessionReport, sessionReport } from '../ops/report.ts'
import { type Windows, windowsOf } from '../protocol/windows.ts'
import { openStore } from '../store/db.ts'
import { StoreError } from '../store/errors.ts'
import type { Context } from './context.ts'
import { reportOf } from './daemon.ts'

/** Who works on what lies on this machine. */
type Keeper =
  /** Serves: there will be more. */
  | 'serving'
  /** Claims and proves what is there. */
  | 'settling'
  /** Has the database and does not answer yet, or any more. */
  | 'starting'
  | 'nobody'

interface Local {
  readonly keeper: Keeper
  readonly sessions: readonly SessionReport[]
}

export interface Unsettled {
  readonly keeper: Keeper
  /** One line for each session or claim that is not settled. */
  readonly lines: readonly string[]
  /** Once this block is there nothing of it can be lost any more. */
  readonly until: Height
  /** Nobody takes the next step for so many sessions with relays, though there is time. */
  readonly abandoned: number
}

/**
 * Undefined: nothing is open, as far as this machine and the chain know.
 * @param at the latest height @throws ChainError, StoreError, OpsError STATUS_UNREADABLE
 */
export async function unsettledOf(
  context: Context,
  config: Config,
  query: Pick<Query, 'claims' | 'sharedParams'>,
  operator: string,
  at: Height,
): Promise<Unsettled | undefined> {
  const { signal } = context
  const { keeper, sessions } = await localOf(context, config, operator)
  const lines: string[] = []
  let until = at
  let abandoned = 0
  const here = new Set<string>()
  for (const { sessionId, sessionEnd, service, state, served } of sessions) {
    const windows = await windowsAt(query, height(sessionEnd), signal)
    here.add(sessionId)
    if (at >= windows.settlement) continue
    if (keeper === 'nobody' && isWaiting(state, at, windows)) abandoned++
    lines.push(line(service, sessionEnd, `${state}, ${served} relays`, windows))
    until = height(Math.max(until, windows.settlement))
  }
  for (const { sessionHeader } of await query.claims(operator, signal)) {
    if (sessionHeader === undefined || here.has(sessionHeader.sessionId)) continue
    const end = height(sessionHeader.sessionEndBlockHeight)
    const windows = await windowsAt(query, end, signal)
    lines.push(line(sessionHeader.serviceId, end, 'claimed on the chain', windows))
    until = height(Math.max(until, windows.settlement))
  }
  if (lines.length === 0 && keeper !== 'starting') return undefined
  return { keeper, lines, until, abandoned }
}

function line(service: string, end: number, state: string, { settlement }: Windows): string {
  return `${service}, session that ends at ${end}: ${state}; settled at ${settlement}`
}

async function windowsAt(
  query: Pick<Query, 'sharedParams'>,
  end: Height,
  signal: AbortSignal,
): Promise<Windows> {
  return windowsOf(end, await query.sharedParams(end, signal))
}

/** Is there something left to do for us, and time to do it? */
function isWaiting(state: string, at: Height, windows: Windows): boolean {
  if (state === 'serving' || state === 'sealed' || state === 'claiming')
    return at < windows.claimClose
  return (state === 'claimed' || state === 'proving') && at < windows.proofClose
}

async function localOf(context: Context, config: Config, operator: string): Promise<Local> {
  const report = await reportOf(context, config)
  const isOurs = ({ supplier, served }: SessionReport) => supplier === operator && served > 0
  if (!(report instanceof OpsError)) {
    const keeper = report.serving ? 'serving' : 'settling'
    return { keeper, sessions: report.sessions.filter(isOurs) }
  }
  try {
    return { keeper: 'nobody', sessions: (await storedSessions(context, config)).filter(isOurs) }
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'LOCKED') throw error
    if (report.code === 'STATUS_UNREADABLE') throw report
    return { keeper: 'starting', sessions: [] }
  }
}

async function storedSessions({ clock }: Context, { dataDir }: Config): Promise<SessionReport[]> {
  const path = join(dataDir, 'db')
  // Looking must not make a database.
  const isThere = await stat(path).then(
    () => true,
    () => false,
  )
  if (!isThere) return []
  await using store = await openStore(path, { log: silentLog(), clock })
  const open = await store.sessions.open()
  return await Promise.all(
    open.map(async (record) => sessionReport(record, await store.relays.served(record.key))),
  )
}
