/** Gathers what `status` and the health page show from the running parts. Tests: test/e2e. */
import type { Height } from '../base/units.ts'
import type { Reason } from '../gpu/verdict.ts'
import {
  earningsReport,
  endpointReports,
  type OwnerReport,
  type Report,
  sessionReport,
} from '../ops/report.ts'
import { stakeProblems, stakesOf } from './stakes.ts'
import type { Frame, Parts } from './supplier.ts'

/** A block takes about a minute on the main network: ten of them without news is trouble. */
const SILENCE_MAX = 600_000

/** A model that waits for its turn, and one that makes room for its owner, are as they should be. */
const WELL: ReadonlySet<string> = new Set(['ready', 'starting', 'unloaded', 'yielding'])

/** Why the supplier cannot earn now, as far as it knows without asking; empty when it can. */
export function healthOf({ deps, options }: Frame, { chain, engines }: Parts): string[] {
  const reasons: string[] = []
  const head = chain.blocks.head()
  const silence = head === undefined ? 0 : deps.clock.now() - head.time
  if (head === undefined) reasons.push('no block has been seen')
  else if (silence > SILENCE_MAX)
    reasons.push(`no block for ${Math.round(silence / 60_000)} minutes`)
  if (!options.serve) return reasons
  for (const { services, state, failure } of engines.inference.stats().backends) {
    const why = failure === undefined ? '' : `: ${failure}`
    if (!WELL.has(state)) reasons.push(`the engine of ${services.join(', ')} is ${state}${why}`)
  }
  return reasons
}

/** @throws StoreError, `signal.reason` */
export async function buildReport(
  frame: Frame,
  parts: Parts,
  signal: AbortSignal,
): Promise<Report> {
  const { config, deps, options } = frame
  const { chain, store, miner, relay } = parts
  const open = await store.sessions.open()
  const sessions = open.map(async (record) =>
    sessionReport(record, await store.relays.served(record.key)),
  )
  const suppliers = await stakesOf(frame, chain, signal)
  const energy = await parts.engines.energy.report(config.machine.powerPrice)
  const stakes = options.serve ? stakeProblems(frame, suppliers) : []
  return {
    version: deps.version,
    pid: deps.pid,
    uptimeSeconds: Math.round((deps.clock.monotonic() - frame.startedAt) / 1_000),
    serving: options.serve,
    problems: [
      ...healthOf(frame, parts),
      ...stakes,
      ...parts.engines.problems(),
      ...degradedOf(parts),
    ],
    chain: {
      id: config.chain.id,
      height: heightOrZero(chain.blocks.head()?.height),
      planned: heightOrZero(miner.miner.planned),
      endpoints: endpointReports(chain.rpc.health, chain.blocks.head()?.height),
    },
    suppliers,
    relays: { ...relay.handler.counts, inFlight: relay.server.inFlight },
    engines: enginesOf(parts),
    ...(options.serve ? { owner: ownerOf(frame, parts) } : {}),
    sessions: await Promise.all(sessions),
    earnings: earningsReport(await store.ledger.totals()),
    ...(energy === undefined ? {} : { energy }),
    curve: deps.curve.kind,
  }
}

/** What serves, but worse than it was asked to. */
function degradedOf({ engines }: Pick<Parts, 'engines'>): string[] {
  return engines.inference
    .stats()
    .backends.flatMap(({ services, degraded }) =>
      degraded === undefined ? [] : [`the engine of ${services.join(', ')}: ${degraded}`],
    )
}

function enginesOf({ engines }: Pick<Parts, 'engines'>): Report['engines'] {
  return engines.inference.stats().backends.map(({ services, info, servers, ...backend }) => ({
    services,
    kind: info.kind,
    model: info.model,
    device: info.device,
    state: backend.state,
    slots: info.slots,
    active: backend.active,
    queued: backend.queued,
    tokensPerSecond: backend.tokensPerSecond,
    predictedMs: Math.round(backend.predictedMs),
    ...(servers === undefined ? {} : { servers }),
    ...(backend.spent === undefined ? {} : { spent: backend.spent }),
  }))
}

/** Whose the machine is now, and why. */
function ownerOf({ config }: Frame, { engines }: Parts): OwnerReport {
  const { machine, steward } = engines
  const { watch } = machine
  const { since, until, ...verdict } = watch.current()
  const { presence } = watch.facts()
  const times = steward.yieldTimes
  const said = ({ name, text }: Reason) => ({ name, text })
  return {
    serve: config.machine.serve,
    since,
    ...(until === undefined ? {} : { until }),
    reasons: verdict.machine.map(said),
    cards: [...verdict.gpus].map(([id, reasons]) => ({ id, reasons: reasons.map(said) })),
    engines: steward.reports().map(({ services, state }) => ({ services: [...services], state })),
    ...(presence === undefined ? {} : { source: presence.source }),
    problems: [...watch.problems(), ...engines.hints()],
    ...(times === undefined ? {} : { yields: times }),
  }
}

function heightOrZero(at: Height | undefined): number {
  return at ?? 0
}
