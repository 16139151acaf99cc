/**
 * Several servers of one model: the least loaded one that is well takes a request, and another one takes
 * it over where nothing of it was sent or where the first had no room.
 *
 * Tested by test/inference/upstream/servers.ts.
 */
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { type Ms, ms } from '../../base/units.ts'
import type { ServerStats } from '../backend.ts'
import { InferenceError } from '../errors.ts'
import type { UpstreamServer } from './server.ts'

/** What is told to wait where no server says how long. */
const WAIT_DEFAULT = ms(1_000)

export class UpstreamServers {
  readonly #clock: Clock
  readonly #log: Log
  readonly #servers: readonly UpstreamServer[]

  constructor(deps: { clock: Clock; log: Log }, servers: readonly UpstreamServer[]) {
    this.#clock = deps.clock
    this.#log = deps.log
    this.#servers = servers
  }

  get inFlight(): number {
    return this.#servers.reduce((sum, { inFlight }) => sum + inFlight, 0)
  }

  /** Of the servers that are well; of all of them where none is. */
  get slots(): number {
    const up = this.#servers.filter(({ isUp }) => isUp)
    return (up.length === 0 ? this.#servers : up).reduce((sum, { slots }) => sum + slots, 0)
  }

  get isUp(): boolean {
    return this.#servers.some(({ isUp }) => isUp)
  }

  reports(): ServerStats[] {
    return this.#servers.map((server) => server.report())
  }

  /**
   * Asks all of them whether they are well; one is enough.
   * @returns what the first one that is well answered. @throws what the first one threw
   */
  async check(signal: AbortSignal): Promise<Uint8Array> {
    const results = await Promise.allSettled(this.#servers.map((server) => server.check(signal)))
    signal.throwIfAborted()
    const well = results.find((result) => result.status === 'fulfilled')
    if (well !== undefined) return well.value
    const [first] = results
    throw first?.status === 'rejected' ? first.reason : unavailable(WAIT_DEFAULT)
  }

  /** Asks again every so often, until the signal ends it, and says what has changed. */
  async watch(every: Ms, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#clock.sleep(every, signal)
      const before = this.reports()
      await this.check(signal).catch(() => {})
      for (const [at, { name, state, lastFailure }] of this.reports().entries()) {
        if (state === before[at]?.state) continue
        if (state === 'ok') this.#log.info({ upstream: name }, 'upstream is well')
        else this.#log.warn({ upstream: name, state, lastFailure }, 'upstream is not well')
      }
    }
  }

  /**
   * Runs `work` on one server, and on the next ones where the first did none of it.
   * @param counts false: how it ends says nothing about the server
   * @throws InferenceError BUSY: none has room, or none can be reached; what `work` throws
   */
  async run<T>(
    work: (server: UpstreamServer) => Promise<T>,
    signal: AbortSignal,
    counts = true,
  ): Promise<T> {
    const tried = new Set<UpstreamServer>()
    let last: unknown
    for (;;) {
      const server = this.#choose(tried)
      if (server === undefined) throw this.#none(last)
      tried.add(server)
      try {
        return await server.run(
          () => work(server),
          () => signal.aborted || !counts,
        )
      } catch (error) {
        if (signal.aborted || !isUndone(error)) throw error
        last = error
        const { code, data } = error
        this.#log.debug({ upstream: server.name, code, ...data }, 'upstream did not take a request')
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()))
  }

  /** The least loaded; of equals the first. One that said it is full comes last. */
  #choose(tried: ReadonlySet<UpstreamServer>): UpstreamServer | undefined {
    const free = this.#servers.filter(
      (server) => server.isUp && server.inFlight < server.slots && !tried.has(server),
    )
    const rank = ({ isResting, inFlight, slots }: UpstreamServer) =>
      (isResting ? 1 : 0) + inFlight / slots
    return free.reduce<UpstreamServer | undefined>(
      (best, server) => (best === undefined || rank(server) < rank(best) ? server : best),
      undefined,
    )
  }

  #none(last: unknown): InferenceError {
    if (last instanceof InferenceError && last.code === 'BUSY') return last
    if (last === undefined && this.isUp)
      return new InferenceError('BUSY', 'every slot of the upstreams is taken', { retryable: true })
    const rests = this.#servers.map(({ restLeft }) => restLeft).filter((rest) => rest > 0)
    return unavailable(ms(Math.min(...(rests.length === 0 ? [WAIT_DEFAULT] : rests))))
  }
}

/** Nothing of it was sent, or the server had no room for it: another one may begin it. */
function isUndone(error: unknown): error is InferenceError {
  if (!(error instanceof InferenceError)) return false
  const { sent, upstreamStatus } = error.data
  return sent === false || upstreamStatus === 429 || upstreamStatus === 503
}

function unavailable(wait: Ms): InferenceError {
  return new InferenceError('BUSY', 'no upstream can be reached', {
    data: { reason: 'unavailable', retryAfterSeconds: Math.ceil(wait / 1_000) },
    retryable: true,
  })
}
