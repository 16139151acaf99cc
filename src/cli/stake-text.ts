/**
 * What `stake` shows before it asks: to people in lines, to programs as data. Tests: test/cli/stake.ts.
 */
import { formatPokt, type Height, type Ms } from '../base/units.ts'
import type { Concern, SupplierStake } from '../chain/concern.ts'
import type { BreakEven, StakeCosts } from '../chain/costs.ts'
import { rpcTypeName, type ServiceInfo } from '../chain/services.ts'
import type { Estimate } from './chain.ts'
import type { CheckResult } from './stake-check.ts'

/** All that is known before anybody signs. */
export interface Preview {
  readonly stake: SupplierStake
  readonly at: Height
  readonly costs: StakeCosts
  /** Undefined where the transaction would be refused. */
  readonly estimate: Estimate | undefined
  /** What a block took lately. */
  readonly blockTime: Ms | undefined
  readonly infos: readonly ServiceInfo[]
  readonly pay: ReadonlyMap<string, BreakEven>
  readonly concerns: readonly Concern[]
}

const LABEL = 17

export function previewLines(preview: Preview): string[] {
  const { stake, costs, estimate, at } = preview
  const { signer, operator, owner, services } = stake
  const gas = estimate === undefined ? 'gas' : `${formatPokt(estimate.fee)} for ${estimate.gas} gas`
  const lines = [
    entry('operator', operator),
    entry('owner', owner),
    ...(signer === operator ? [] : [entry('signed by', signer)]),
    ...services.slice(0, 1).flatMap(serviceLines(services.map(({ serviceId }) => serviceId))),
    entry(
      'stake',
      `${formatPokt(costs.stakeBefore)} -> ${formatPokt(costs.stakeAfter)} (minimum ${formatPokt(costs.minStake)})`,
    ),
    entry('to be locked', `${formatPokt(costs.locked)} of ${formatPokt(costs.balance)}`),
    ...(costs.released > 0n
      ? [entry('paid out', `${formatPokt(costs.released)} to the owner`)]
      : []),
    entry('fee, gone', `${formatPokt(costs.stakingFee)} and ${gas}`),
    entry(
      'to get it back',
      `${blocks(costs.unbondingBlocks, preview)} after the session in which you unstake`,
    ),
    ...(services.length === 0
      ? []
      : [
          entry(
            'served from',
            `height ${costs.activeFrom} on, in ${blocks(costs.activeFrom - at, preview)}`,
          ),
        ]),
    entry('at risk', `${formatPokt(costs.penalty)} for each proof that is missed or wrong;`),
    entry('', 'a stake that falls below the minimum ends by itself'),
  ]
  for (const info of preview.infos)
    lines.push('', ...infoLines(info), ...payLines(info.id, preview))
  lines.push(
    '',
    'A missed or wrong proof is slashed from this stake. A proof publishes one sampled request of the',
    'session, prompt included, on the chain.',
  )
  return lines
}

/** All services share URL, types and shares. */
function serviceLines(ids: readonly string[]) {
  return ({ endpoints, revShare }: SupplierStake['services'][number]): string[] => {
    const urls = new Map<string, string[]>()
    for (const { url, rpcType } of endpoints)
      urls.set(url, [...(urls.get(url) ?? []), rpcTypeName(rpcType)])
    return [
      entry('services', ids.join(', ')),
      ...[...urls].map(([url, types]) => entry('reached at', `${url} (${types.join(', ')})`)),
      ...revShare.map((one, i) =>
        entry(i === 0 ? 'rewards' : '', `${one.revSharePercentage} % to ${one.address}`),
      ),
    ]
  }
}

/** What the owner of the service says of it. */
function infoLines({ id, name, cardBytes, card }: ServiceInfo): string[] {
  const lines = [entry(`service ${id}`, name === '' || name === id ? '' : name)]
  if (card === undefined) {
    const what = cardBytes === 0 ? 'none' : `${cardBytes} bytes that are no service card`
    return [...lines, entry('  card', what)]
  }
  const types = card.rpcTypes.map(({ type, intent }) => (intent ? `${type} (${intent})` : type))
  const needs = [
    card.minRamGb === undefined ? '' : `${card.minRamGb} GB of memory`,
    card.minDiskGb === undefined ? '' : `${card.minDiskGb} GB of disk`,
  ]
  const told: [string, string][] = [
    ['  card', card.description ?? 'without a description'],
    ['  interfaces', card.apis.join(', ')],
    ['  types', types.join(', ')],
    ['  to be run', [card.backend ?? '', ...card.implementations].filter(Boolean).join('; ')],
    ['  needs', needs.filter(Boolean).join(', ')],
    ['  notes', card.notes ?? ''],
    ['  checks', card.healthChecks.length === 0 ? '' : String(card.healthChecks.length)],
  ]
  for (const [label, text] of told) if (text !== '') lines.push(entry(label, text))
  return lines
}

function payLines(id: string, { pay }: Preview): string[] {
  const found = pay.get(id)
  if (found === undefined) return []
  const { perMillion, sessionFees, relays, computeUnitsPerRelay } = found
  const each = Number((Number(perMillion) / 1_000_000).toPrecision(6))
  const whole = `${each} upokt a relay (${computeUnitsPerRelay} compute units)`
  const fees = `${sessionFees} upokt that its claim and proof cost`
  const from =
    relays === undefined
      ? `no session earns the ${fees}`
      : `from ${relays} ${relays === 1n ? 'relay' : 'relays'} on a session earns the ${fees}`
  return [entry('  pay', whole), entry('', from)]
}

export function checkLine({ service, result, reason }: CheckResult): string {
  return `check of ${service}: ${result}${reason === '' ? '' : `, ${reason}`}`
}

function entry(label: string, text: string): string {
  return label.length < LABEL
    ? `${label.padEnd(LABEL)}${text}`.trimEnd()
    : `${label}  ${text}`.trimEnd()
}

function blocks(number: number, { blockTime }: Pick<Preview, 'blockTime'>): string {
  const told = number === 1 ? '1 block' : `${number} blocks`
  return blockTime === undefined ? told : `${told} (about ${lasting(number * blockTime)})`
}

const HOUR = 3_600_000

function lasting(duration: number): string {
  if (duration >= 48 * HOUR) return `${Math.round(duration / (24 * HOUR))} days`
  if (duration >= 2 * HOUR) return `${Math.round(duration / HOUR)} h`
  if (duration >= 120_000) return `${Math.round(duration / 60_000)} min`
  return `${Math.max(1, Math.round(duration / 1_000))} s`
}

/** Amounts as strings of upokt. */
export function previewData(preview: Preview): Record<string, unknown> {
  const { stake, costs, estimate, blockTime, concerns } = preview
  return {
    operator: stake.operator,
    owner: stake.owner,
    signer: stake.signer,
    services: stake.services.map(({ serviceId }) => serviceId),
    stakeUpokt: String(costs.stakeAfter),
    lockedUpokt: String(costs.locked),
    releasedUpokt: String(costs.released),
    stakingFeeUpokt: String(costs.stakingFee),
    gasFeeUpokt: estimate === undefined ? null : String(estimate.fee),
    penaltyUpokt: String(costs.penalty),
    minStakeUpokt: String(costs.minStake),
    unbondingBlocks: costs.unbondingBlocks,
    unbondingHours: blockTime === undefined ? null : (costs.unbondingBlocks * blockTime) / HOUR,
    activeFrom: costs.activeFrom,
    pay: Object.fromEntries([...preview.pay].map(([id, pay]) => [id, payData(pay)])),
    cards: Object.fromEntries(preview.infos.map(({ id, card }) => [id, card ?? null])),
    concerns: concerns.map(({ text }) => text),
  }
}

function payData({ computeUnitsPerRelay, perMillion, sessionFees, relays }: BreakEven) {
  return {
    computeUnitsPerRelay: String(computeUnitsPerRelay),
    upoktPerMillionRelays: String(perMillion),
    sessionFeesUpokt: String(sessionFees),
    relaysToBreakEven: relays === undefined ? null : Number(relays),
  }
}
