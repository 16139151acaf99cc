/**
 * What a supplier is doing, as data: `/status` and `status --json` give it as it is, people get it as
 * text (text.ts). Amounts are strings, since readers of JSON round large numbers. Fields are added and
 * never renamed: scripts rely on them. Tests: test/ops/report.ts.
 */
import { z } from 'zod'
import type { Height } from '../base/units.ts'
import type { EndpointHealth } from '../chain/endpoint.ts'
import { addEnergy, type EnergyTotals, NO_ENERGY, NOBODY } from '../store/energy.ts'
import type { LedgerTotals } from '../store/ledger.ts'
import type { SessionRecord } from '../store/sessions.ts'

const upokt = z.string().regex(/^\d+$/)
const count = z.number().min(0)

const EndpointSchema = z.object({
  /** Host and port. */
  name: z.string(),
  /** The latest that it claims; 0 if it never answered. */
  height: count,
  /** Blocks behind the head. */
  lag: count,
  /** ok, lagging, catching-up, ahead, no-answer, other-chain, disagrees */
  state: z.string(),
  /** The same as a sentence; empty for ok. */
  reason: z.string(),
})

const SessionSchema = z.object({
  sessionId: z.string(),
  service: z.string(),
  supplier: z.string(),
  sessionEnd: count,
  /** Of the record in the database: serving, sealed, claiming, claimed, proving, proven, unproven. */
  state: z.string(),
  /** The height at which it got into this state. */
  since: count,
  /** Relays that were answered. */
  served: count,
  /** Why it is where it is, if that is not the usual course. */
  reason: z.string().optional(),
})

const SupplierSchema = z.object({
  operator: z.string(),
  /** Null: no node says. */
  balanceUpokt: upokt.nullable(),
  /** Null: no node says. Not staked: `0`. */
  stake: z
    .object({
      upokt,
      /** Served now, or from the next session on. */
      services: z.array(z.string()),
      /** The end of the last session that it serves. */
      unstakingAt: count.nullable(),
    })
    .nullable(),
})

const EngineSchema = z.object({
  services: z.array(z.string()),
  kind: z.string(),
  model: z.string(),
  device: z.string(),
  state: z.string(),
  slots: count,
  active: count,
  queued: count,
  tokensPerSecond: count,
  /** Milliseconds that a usual request would take now, waiting included; older versions do not say. */
  predictedMs: count.optional(),
  /** Of programs that are asked over the network: ok, unhealthy, open (it rests), half-open. */
  servers: z
    .array(
      z.object({
        name: z.string(),
        state: z.string(),
        inFlight: count,
        slots: count,
        lastFailure: z.string().optional(),
      }),
    )
    .optional(),
  /** Tokens bought there in the last hour and day. */
  spent: z.object({ hour: count, day: count }).optional(),
})

const ReasonSchema = z.object({
  /** paused, schedule, battery, input, busy, program, gpu-load, gpu-memory, heat, unknown */
  name: z.string(),
  /** The same as a sentence. */
  text: z.string(),
})

const OwnerSchema = z.object({
  /** when-idle, always, schedule */
  serve: z.string(),
  /** Milliseconds since 1970: since when it is as it is, and until when, where that is known. */
  since: count,
  until: count.optional(),
  /** Against using the machine at all; none: it may be used. */
  reasons: z.array(ReasonSchema),
  /** Cards that are left to the owner. */
  cards: z.array(z.object({ id: z.string(), reasons: z.array(ReasonSchema) })),
  /** serves, yields, has yielded; engines that do not yield are not in it. */
  engines: z.array(z.object({ services: z.array(z.string()), state: z.string() })),
  /** Who tells whether somebody is at the machine. */
  source: z.string().optional(),
  /** What cannot be told, and what to do about it, as sentences. */
  problems: z.array(z.string()),
  /** Milliseconds from the reason until the memory was free. */
  yields: z.object({ count, p50: count, p99: count }).optional(),
})

const EarningsSchema = z.object({
  /** That have ended, well or not. */
  sessions: count,
  served: count,
  claimedUpokt: upokt,
  settledUpokt: upokt,
  rewardsUpokt: upokt,
  lostUpokt: upokt,
  unseenUpokt: upokt,
  losses: z.array(
    z.object({ outcome: z.string(), reason: z.string(), sessions: count, lostUpokt: upokt }),
  ),
})

const EnergySchema = z.object({
  /** False: no card that serves has told what it draws. */
  measured: z.boolean(),
  /** What the cards that serve draw now; null: not known. */
  watts: count.nullable(),
  /** Of what was drawn while there were answers; a token is one that was read or written. */
  joulesPerToken: count.nullable(),
  joulesPerRelay: count.nullable(),
  /** Also what was drawn while they waited for work. */
  kWh: count,
  /** Of a kWh, in the owner's money; null: he has not said it. */
  powerPrice: count.nullable(),
  cost: count.nullable(),
  /** A day such as `2026-11-29`; null: nothing is booked yet. */
  since: z.string().nullable(),
})

const ReportSchema = z.object({
  version: z.string(),
  pid: count,
  uptimeSeconds: count,
  /** False for `start --settle`: nothing new is served. */
  serving: z.boolean(),
  /** Why it cannot earn now, as sentences; none: it can. */
  problems: z.array(z.string()),
  chain: z.object({
    id: z.string(),
    /** Of the last block; 0 before the first. */
    height: count,
    /** The last height whose actions have been carried out. */
    planned: count,
    /** Of `chain.rpc`, in its order; older versions do not say. */
    endpoints: z.array(EndpointSchema).optional(),
  }),
  suppliers: z.array(SupplierSchema),
  /** Since the start of the daemon, by outcome; `inFlight`: now. */
  relays: z.intersection(z.object({ inFlight: count }), z.record(z.string(), count)),
  engines: z.array(EngineSchema),
  /** Absent where nothing is served; older versions do not say. */
  owner: OwnerSchema.optional(),
  sessions: z.array(SessionSchema),
  earnings: EarningsSchema,
  /** Absent: nothing was measured and nothing served; older versions do not say. */
  energy: EnergySchema.optional(),
  /** Which library checks signatures: `native`, or the slower `wasm`. */
  curve: z.string(),
})

type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T
export type Report = Frozen<z.output<typeof ReportSchema>>
export type SessionReport = Frozen<z.output<typeof SessionSchema>>
export type EndpointReport = Frozen<z.output<typeof EndpointSchema>>
export type SupplierReport = Frozen<z.output<typeof SupplierSchema>>
export type OwnerReport = Frozen<z.output<typeof OwnerSchema>>
export type EarningsReport = Frozen<z.output<typeof EarningsSchema>>
export type EnergyReport = Frozen<z.output<typeof EnergySchema>>

/** What another process said; fields that a newer version has are kept. Undefined: not a report. */
export function readReport(value: unknown): Report | undefined {
  return ReportSchema.safeParse(value).success ? (value as Report) : undefined
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

export function endpointReports(
  health: readonly EndpointHealth[],
  head: Height | undefined,
): EndpointReport[] {
  return health.map(({ name, height, state, reason }) => {
    const lag = height === undefined || head === undefined ? 0 : Math.max(0, head - height)
    return { name, height: height ?? 0, lag, state, reason }
  })
}

export function earningsReport(totals: LedgerTotals): EarningsReport {
  return {
    sessions: totals.sessions,
    served: totals.served,
    claimedUpokt: String(totals.claimed),
    settledUpokt: String(totals.settled),
    rewardsUpokt: String(totals.rewards),
    lostUpokt: String(totals.lost),
    unseenUpokt: String(totals.unseen),
    losses: totals.losses.map(({ outcome, reason, sessions, lost }) => ({
      outcome,
      reason,
      sessions,
      lostUpokt: String(lost),
    })),
  }
}

const JOULES_PER_KWH = 3_600_000

/** @returns undefined: there is nothing to tell */
export function energyReport(
  { since, services }: EnergyTotals,
  now: { readonly watts?: number | undefined; readonly powerPrice?: number | undefined } = {},
): EnergyReport | undefined {
  const { watts = null, powerPrice = null } = now
  const all = [...services].map(([serviceId, figures]) => ({ serviceId, ...figures }))
  const served = all.filter(({ serviceId }) => serviceId !== NOBODY)
  const measured = watts !== null || all.some(({ seconds }) => seconds > 0)
  if (!measured && !served.some(({ relays }) => relays > 0)) return undefined
  // A model on the processor would make those on the cards look cheap.
  const drawn = served.filter(({ joules }) => joules > 0).reduce(addEnergy, NO_ENERGY)
  const per = (number: number) => (number > 0 && drawn.joules > 0 ? drawn.joules / number : null)
  const kWh = all.reduce((sum, { joules }) => sum + joules, 0) / JOULES_PER_KWH
  return {
    measured,
    watts,
    joulesPerToken: per(drawn.promptTokens + drawn.completionTokens),
    joulesPerRelay: per(drawn.relays),
    kWh,
    powerPrice,
    cost: measured && powerPrice !== null ? kWh * powerPrice : null,
    since: since ?? null,
  }
}
