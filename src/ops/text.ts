/**
 * A report for people: at most 100 columns, so that it fits a terminal beside something else. Long
 * words (addresses, model names) may stick out; nothing else does. Tests: test/ops/text.ts.
 */
import { formatPokt, upokt } from '../base/units.ts'
import { energyText } from './energy-text.ts'
import type {
  EarningsReport,
  EndpointReport,
  OwnerReport,
  Report,
  SessionReport,
  SupplierReport,
} from './report.ts'

export const COLUMNS = 100
/** Rows of one table; the rest is counted. `--json` has them all. */
const ROWS_MAX = 40
const LABEL = 11

/** What runs, what waits for pay, what was earned and what was lost, with the reason. */
export function reportText(report: Report): string {
  const { chain, relays, problems } = report
  const running = report.serving ? '' : ', serves nothing new'
  const lines = [
    `pokt-supplier ${report.version}, process ${report.pid}, up ${duration(report.uptimeSeconds)}${running}`,
    ...entry('chain', `${chain.id} at height ${chain.height || 'unknown'}`),
    ...nodeLines(chain.endpoints ?? []),
    ...report.suppliers.flatMap(supplierLines),
    ...report.engines.flatMap(engineLines),
    ...ownerLines(report.owner),
  ]
  const counts = Object.entries(relays)
    .filter(([name, number]) => number > 0 || name === 'mined')
    .map(([name, number]) => `${number} ${name === 'inFlight' ? 'running' : name}`)
  lines.push(...entry('relays', counts.join(', ')))
  if (report.energy !== undefined) lines.push(...entry('power', energyText(report.energy)))
  for (const problem of problems) lines.push(...entry('PROBLEM', problem))
  lines.push('', ...sessionLines(report.sessions), '', ...earningsLines(report.earnings))
  return lines.join('\n')
}

/** One alone is only worth a line when something is wrong with it. */
function nodeLines(endpoints: readonly EndpointReport[]): string[] {
  if (endpoints.length === 1 && endpoints[0]?.state === 'ok') return []
  return endpoints.flatMap(({ name, height, state, reason }) => {
    const said = state === 'ok' ? 'ok' : reason
    const at = height === 0 || said.includes('height') ? '' : `, at height ${height}`
    return entry('node', `${name}  ${said}${at}`)
  })
}

function supplierLines({ operator, balanceUpokt, stake }: SupplierReport): string[] {
  const balance = balanceUpokt === null ? 'balance unknown' : `${pokt(balanceUpokt)} for fees`
  const staked = stake === null ? 'stake unknown' : `${pokt(stake.upokt)} staked`
  return entry('supplier', `${operator}  ${staked}, ${balance}`)
}

/** Whose the machine is. Where nobody is ever in the way there is nothing to say. */
function ownerLines(owner: OwnerReport | undefined): string[] {
  if (owner === undefined) return []
  const { reasons, cards, problems, yields } = owner
  const lines = reasons.map(({ text }) => `left to you: ${text}`)
  for (const { id, reasons: against } of cards)
    lines.push(...against.map(({ text }) => `card ${id} is left to you: ${text}`))
  if (yields !== undefined) {
    const [half, most] = [yields.p50, yields.p99].map((time) => (time / 1_000).toFixed(1))
    lines.push(
      `given back ${yields.count} times, within ${half} s (half of them), ${most} s (99 %)`,
    )
  }
  return [...lines, ...problems].flatMap((line, i) => entry(i === 0 ? 'machine' : '', line))
}

function engineLines(engine: Report['engines'][number]): string[] {
  const { services, model, kind, device, state, active, slots, queued, tokensPerSecond } = engine
  const speed = tokensPerSecond > 0 ? `, ${tokensPerSecond.toFixed(0)} tokens/s` : ''
  const on = device === '' || device === kind ? kind : `${kind} (${device})`
  return [
    ...entry(
      'engine',
      `${services.join(', ')}: ${model} on ${on}, ${state}, ${active} of ${slots} slots, ${queued} waiting${speed}`,
    ),
    ...serverLines(engine),
  ]
}

/** One server that is well is not worth a line. */
function serverLines({ servers = [], spent }: Report['engines'][number]): string[] {
  const isQuiet = servers.length < 2 && servers.every(({ state }) => state === 'ok')
  const lines = (isQuiet ? [] : servers).map(({ name, state, inFlight, slots, lastFailure }) => {
    const why = lastFailure === undefined || state === 'ok' ? '' : ` (${lastFailure})`
    return `  ${name}  ${state}${why}, ${inFlight} of ${slots} slots`
  })
  if (spent !== undefined && spent.day > 0)
    lines.push(`  ${spent.hour} tokens in the last hour, ${spent.day} in the last day`)
  return lines.flatMap((line) => entry('', line))
}

/** One row a session; with several suppliers the end of the address says whose. */
export function sessionLines(sessions: readonly SessionReport[]): string[] {
  if (sessions.length === 0) return ['sessions   none in work']
  const several = new Set(sessions.map(({ supplier }) => supplier)).size > 1
  const rows = sessions
    .slice(0, ROWS_MAX)
    .map(({ sessionEnd, service, supplier, state, served, since }) => [
      String(sessionEnd),
      service,
      ...(several ? [`…${supplier.slice(-6)}`] : []),
      state,
      String(served),
      String(since),
    ])
  const head = ['end', 'service', ...(several ? ['supplier'] : []), 'state', 'relays', 'since']
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => len(row[i]))))
  const text = (cells: readonly string[]) =>
    cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')
  const names = `${'sessions'.padEnd(LABEL)}${text(head)}`
  const lines = [names.length + '  reason'.length <= COLUMNS ? `${names}  reason` : names]
  for (const [i, row] of rows.entries()) lines.push(...withReason(text(row), sessions[i]?.reason))
  if (sessions.length > ROWS_MAX)
    lines.push(`${' '.repeat(LABEL)}and ${sessions.length - ROWS_MAX} more; --json has them all`)
  return lines
}

/** Beside the row where there is room, else below it. */
function withReason(row: string, reason = ''): string[] {
  const beside = `${' '.repeat(LABEL)}${row}  ${reason}`.trimEnd()
  if (beside.length <= COLUMNS) return [beside]
  return [`${' '.repeat(LABEL)}${row}`.trimEnd(), ...entry('', `  ${reason}`)]
}

export function earningsLines(earnings: EarningsReport): string[] {
  const lines = entry(
    'earnings',
    `${earnings.sessions} sessions ended, ${earnings.served} relays, ${pokt(earnings.settledUpokt)} settled, ${pokt(earnings.rewardsUpokt)} paid out`,
  )
  if (earnings.unseenUpokt !== '0')
    lines.push(
      ...entry('unseen', `${pokt(earnings.unseenUpokt)} claimed, of which no node tells the end`),
    )
  if (earnings.lostUpokt !== '0' || earnings.losses.length > 0)
    lines.push(...entry('lost', pokt(earnings.lostUpokt)))
  for (const { outcome, reason, sessions, lostUpokt } of earnings.losses.slice(0, ROWS_MAX)) {
    lines.push(...entry('', `${pokt(lostUpokt)} in ${sessions} sessions, ${outcome}: ${reason}`))
  }
  if (earnings.losses.length > ROWS_MAX)
    lines.push(...entry('', `and ${earnings.losses.length - ROWS_MAX} more; --json has them all`))
  return lines
}

/** `label      text`, wrapped at blanks and kept to the right of the label. */
export function entry(label: string, text: string): string[] {
  const indent = /^ */.exec(text)?.[0] ?? ''
  const lines: string[] = []
  let line = ''
  for (const word of text.trim().split(' ')) {
    const longer = line === '' ? `${indent}${word}` : `${line} ${word}`
    if (line !== '' && LABEL + longer.length > COLUMNS) {
      lines.push(line)
      line = `${indent}${word}`
    } else line = longer
  }
  lines.push(line)
  return lines.map((part, i) => `${(i === 0 ? label : '').padEnd(LABEL)}${part}`)
}

function len(text: string | undefined): number {
  return text?.length ?? 0
}

function pokt(text: string): string {
  return formatPokt(upokt(text))
}

function duration(seconds: number): string {
  const days = Math.floor(seconds / 86_400)
  const hours = Math.floor((seconds % 86_400) / 3_600)
  const minutes = Math.floor((seconds % 3_600) / 60)
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`
}
