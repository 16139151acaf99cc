/** Gathers what `status` shows from the running parts. */
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { earningsReport, heightOrZero, type Report, sessionReport } from '../ops/report.ts'
import type { Frame, Parts } from './supplier.ts'

/** A block takes about a minute on the main network: ten of them without news is trouble. */
const SILENCE_MAX = 600_000

/** Why the supplier cannot earn now; empty when it can. */
export function healthOf({ chain, inference }: Parts, clock: Clock): string[] {
  const reasons: string[] = []
  const head = chain.blocks.head()
  if (head === undefined) reasons.push('no block has been seen')
  else if (clock.now() - head.time > SILENCE_MAX)
    reasons.push(`no block for ${Math.round((clock.now() - head.time) / 60_000)} minutes`)
  for (const { services, state } of inference.stats().backends) {
    if (state !== 'ready') reasons.push(`the engine of ${services.join(', ')} is ${state}`)
  }
  return reasons
}

export async function buildReport(
  frame: Frame,
  parts: Parts,
  signal: AbortSignal,
): Promise<Report> {
  const { config, deps, signers } = frame
  const { chain, store, miner, inference, relay } = parts
  const open = await store.sessions.open()
  const sessions = open.map(async (record) =>
    sessionReport(record, await store.relays.served(record.key)),
  )
  const suppliers = [...signers.keys()].map(async (operator) => ({
    operator,
    balanceUpokt: String(
      await chain.query.balance(operator, signal).catch((error: unknown) => {
        deps.log.debug({ reason: errorText(error) }, 'balance not known')
        return 0n
      }),
    ),
  }))
  return {
    version: deps.version,
    pid: deps.pid,
    uptimeSeconds: Math.round((deps.clock.monotonic() - frame.startedAt) / 1_000),
    chain: {
      id: config.chain.id,
      height: heightOrZero(chain.blocks.head()?.height),
      planned: heightOrZero(miner.miner.planned),
    },
    suppliers: await Promise.all(suppliers),
    relays: { ...relay.handler.counts, inFlight: relay.server.inFlight },
    engines: inference
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
      })),
    sessions: await Promise.all(sessions),
    earnings: earningsReport(await store.ledger.totals()),
    curve: deps.curve.kind,
  }
}
