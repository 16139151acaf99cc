/** Gathers what `status` and the health page show from the running parts. Tests: test/e2e. */
import type { Height } from '../base/units.ts'
import { earningsReport, endpointReports, type Report, sessionReport } from '../ops/report.ts'
import { stakeProblems, stakesOf } from './stakes.ts'
import type { Frame, Parts } from './supplier.ts'

/** A block takes about a minute on the main network: ten of them without news is trouble. */
const SILENCE_MAX = 600_000

/** A model that waits for its turn, and one that makes room for its owner, are as they should be. */
const WELL: ReadonlySet<string> = new Set(['ready', 'unloaded', 'yielding'])

/** Why the supplier cannot earn now, as far as it knows without asking; empty when it can. */
export function healthOf({ deps, options }: Frame, { chain, inference }: Parts): string[] {
  const reasons: string[] = []
  const head = chain.blocks.head()
  const silence = head === undefined ? 0 : deps.clock.now() - head.time
  if (head === undefined) reasons.push('no block has been seen')
  else if (silence > SILENCE_MAX)
    reasons.push(`no block for ${Math.round(silence / 60_000)} minutes`)
  if (!options.serve) return reasons
  for (const { services, state, failure } of inference.stats().backends) {
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
  const stakes = options.serve ? stakeProblems(frame, suppliers) : []
  return {
    version: deps.version,
    pid: deps.pid,
    uptimeSeconds: Math.round((deps.clock.monotonic() - frame.startedAt) / 1_000),
    serving: options.serve,
    problems: [...healthOf(frame, parts), ...stakes, ...parts.selfTests(), ...degradedOf(parts)],
    chain: {
      id: config.chain.id,
      height: heightOrZero(chain.blocks.head()?.height),
      planned: heightOrZero(miner.miner.planned),
      endpoints: endpointReports(chain.rpc.health, chain.blocks.head()?.height),
    },
    suppliers,
    relays: { ...relay.handler.counts, inFlight: relay.server.inFlight },
    engines: enginesOf(parts),
    sessions: await Promise.all(sessions),
    earnings: earningsReport(await store.ledger.totals()),
    curve: deps.curve.kind,
  }
}

/** What serves, but worse than it was asked to. */
function degradedOf({ inference }: Pick<Parts, 'inference'>): string[] {
  return inference
    .stats()
    .backends.flatMap(({ services, degraded }) =>
      degraded === undefined ? [] : [`the engine of ${services.join(', ')}: ${degraded}`],
    )
}

function enginesOf({ inference }: Pick<Parts, 'inference'>): Report['engines'] {
  return inference
    .stats()
    .backends.map(({ services, info, state, active, queued, tokensPerSecond }) => ({
      services,
      kind: info.kind,
      model: info.model,
      device: info.device,
      state,
      slots: info.slots,
      active,
      queued,
      tokensPerSecond,
    }))
}

function heightOrZero(at: Height | undefined): number {
  return at ?? 0
}
