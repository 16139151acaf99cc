/**
 * What a supplier is doing, as data first and text second. `/status` and `status --json` give the
 * data; people get `reportText`. Amounts and counts that may be large are strings.
 * Tests: test/ops/report.ts.
 */
import { formatPokt, type Height, type Upokt, upokt } from '../base/units.ts'
import type { LedgerTotals } from '../store/ledger.ts'
import type { SessionRecord } from '../store/sessions.ts'

export interface SessionReport {
  readonly sessionId: string
  readonly service: string
  readonly supplier: string
  readonly sessionEnd: number
  readonly state: string
  readonly since: number
  readonly served: number
  readonly reason?: string
}

export interface Report {
  readonly version: string
  readonly pid: number
  readonly uptimeSeconds: number
  readonly chain: { readonly id: string; readonly height: number; readonly planned: number }
  readonly suppliers: readonly { readonly operator: string; readonly balanceUpokt: string }[]
  readonly relays: Readonly<Record<string, number>> & { readonly inFlight: number }
  readonly engines: readonly {
    readonly services: readonly string[]
    readonly kind: string
    readonly model: string
    readonly device: string
    readonly state: string
    readonly slots: number
    readonly active: number
    readonly queued: number
    readonly tokensPerSecond: number
  }[]
  readonly sessions: readonly SessionReport[]
  readonly earnings: EarningsReport
  /** Which library checks signatures: `native`, or the slower `wasm`. */
  readonly curve: string
}

export interface EarningsReport {
  readonly sessions: number
  readonly served: number
  readonly claimedUpokt: string
  readonly settledUpokt: string
  readonly rewardsUpokt: string
  readonly lostUpokt: string
  readonly losses: readonly {
    readonly outcome: string
    readonly reason: string
    readonly sessions: number
    readonly lostUpokt: string
  }[]
}

export function sessionReport(record: SessionRecord, served: number): SessionReport {
  const { key, header, state, since, reason } = record
  return {
    sessionId: key.sessionId,
    service: header.serviceId,
    supplier: key.operator,
    sessionEnd: key.end,
    state: state.at,
    since,
    served,
    ...(reason === undefined ? {} : { reason }),
  }
}

export function earningsReport(totals: LedgerTotals): EarningsReport {
  return {
    sessions: totals.sessions,
    served: totals.served,
    claimedUpokt: String(totals.claimed),
    settledUpokt: String(totals.settled),
    rewardsUpokt: String(totals.rewards),
    lostUpokt: String(totals.lost),
    losses: totals.losses.map(({ outcome, reason, sessions, lost }) => ({
      outcome,
      reason,
      sessions,
      lostUpokt: String(lost),
    })),
  }
}

/** For a person: what runs, what waits for pay, what was earned and what was lost, with the reason. */
export function reportText(report: Report): string {
  const { chain, relays } = report
  const lines = [
    `pokt-supplier ${report.version}, process ${report.pid}, up ${duration(report.uptimeSeconds)}`,
    `chain      ${chain.id} at height ${chain.height}`,
  ]
  for (const { operator, balanceUpokt } of report.suppliers) {
    lines.push(`supplier   ${operator}  ${pokt(balanceUpokt)}`)
  }
  for (const engine of report.engines) {
    const speed =
      engine.tokensPerSecond > 0 ? `, ${engine.tokensPerSecond.toFixed(0)} tokens/s` : ''
    lines.push(
      `engine     ${engine.services.join(', ')}: ${engine.model} on ${engine.kind} (${engine.device}), ${engine.state}, ${engine.active} of ${engine.slots} slots, ${engine.queued} waiting${speed}`,
    )
  }
  const counts = Object.entries(relays).map(
    ([name, count]) => `${count} ${name === 'inFlight' ? 'running' : name}`,
  )
  lines.push(
    `relays     ${counts.join(', ')}`,
    '',
    ...sessionLines(report.sessions),
    '',
    ...earningsLines(report.earnings),
  )
  return lines.join('\n')
}

export function sessionLines(sessions: readonly SessionReport[]): string[] {
  if (sessions.length === 0) return ['sessions   none in work']
  return [
    'sessions   end height   service               state      relays  since   reason',
    ...sessions.map((session) =>
      [
        `           ${String(session.sessionEnd).padEnd(12)}`,
        session.service.padEnd(21),
        session.state.padEnd(10),
        String(session.served).padStart(6),
        ` ${String(session.since).padEnd(7)}`,
        session.reason ?? '',
      ]
        .join(' ')
        .trimEnd(),
    ),
  ]
}

export function earningsLines(earnings: EarningsReport): string[] {
  const lines = [
    `earnings   ${earnings.sessions} sessions ended, ${earnings.served} relays, ${pokt(earnings.settledUpokt)} settled, ${pokt(earnings.rewardsUpokt)} to owner and shareholders`,
  ]
  if (earnings.lostUpokt !== '0') lines.push(`lost       ${pokt(earnings.lostUpokt)}`)
  for (const { outcome, reason, sessions, lostUpokt } of earnings.losses) {
    lines.push(`           ${pokt(lostUpokt)} in ${sessions} sessions, ${outcome}: ${reason}`)
  }
  return lines
}

function pokt(text: string): string {
  return formatPokt(upokt(text) as Upokt)
}

function duration(seconds: number): string {
  const days = Math.floor(seconds / 86_400)
  const hours = Math.floor((seconds % 86_400) / 3_600)
  const minutes = Math.floor((seconds % 3_600) / 60)
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`
}

/** 0 while nothing is known yet. */
export function heightOrZero(at: Height | undefined): number {
  return at ?? 0
}
