/**
 * The composition root: builds every part from `Config`, starts them in order, stops in the opposite
 * order. It reads like a parts list; what a part does stands in its own file.
 *
 * A clock that is far from the chain's is warned of and not refused: nothing that we sign depends on
 * it (timeouts are anchored to block time), so it cannot lose money.
 * Tests: test/e2e.
 */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { ownerOnlyFolder } from '../base/files.ts'
import { Lifetime } from '../base/lifetime.ts'
import type { Log } from '../base/log.ts'
import type { Address, Height, Ms } from '../base/units.ts'
import type { Environment } from '../config/environment.ts'
import type { Config } from '../config/schema.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import type { LocalServer } from '../inference/local.ts'
import type { Signer } from '../keys/keyring.ts'
import { Admin } from '../ops/admin.ts'
import { openStore, type Store } from '../store/db.ts'
import { buildChain, type ChainParts } from './chain.ts'
import { buildEngines, type Engines, pauseEngines, resumeEngines, startEngines } from './engines.ts'
import { NodeError } from './errors.ts'
import { firstBlock, refuseLostStore } from './first.ts'
import { buildLocal } from './local.ts'
import { buildMiner, type MinerParts } from './miner.ts'
import { buildRelay, type RelayParts } from './relay.ts'
import { buildReport, healthOf } from './report.ts'
import { stakeProblems, stakesOf } from './stakes.ts'

export interface SupplierOptions {
  /** False: no engine, no relay port; what was served before is still claimed, proven and settled. */
  readonly serve: boolean
}

export const SUPPLIER_DEFAULTS: SupplierOptions = { serve: true }

export interface SupplierDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly randomBytes: (length: number) => Uint8Array
  readonly log: Log
  readonly curve: Curve
  readonly environment: Environment
  readonly version: string
  readonly pid: number
}

/** What all parts share while the daemon is put together. */
export interface Frame {
  readonly config: Config
  readonly signers: ReadonlyMap<Address, Signer>
  readonly deps: SupplierDeps
  readonly life: Lifetime
  readonly options: SupplierOptions
  /** A value of `clock.monotonic()`. */
  readonly startedAt: Ms
}

export interface Parts {
  readonly chain: ChainParts
  readonly store: Store
  readonly miner: MinerParts
  readonly engines: Engines
  readonly relay: RelayParts
}

interface Started {
  readonly parts: Parts
  readonly relayPort: number | undefined
  readonly localPort: number | undefined
  readonly adminUrl: string
}

export class Supplier implements AsyncDisposable {
  readonly #life: Lifetime
  readonly parts: Parts
  /** Undefined when it doesn't serve. */
  readonly relayPort: number | undefined
  /** The owner's own; undefined where the configuration has none. */
  readonly localPort: number | undefined
  readonly adminUrl: string

  private constructor(life: Lifetime, { parts, relayPort, localPort, adminUrl }: Started) {
    this.#life = life
    this.parts = parts
    this.relayPort = relayPort
    this.localPort = localPort
    this.adminUrl = adminUrl
  }

  /**
   * Starts everything; the relay port opens last. What was opened is closed again if a step fails.
   * @throws StoreError LOCKED and others, NodeError, InferenceError, `signal.reason`
   */
  static async start(
    config: Config,
    signers: readonly Signer[],
    deps: SupplierDeps,
    signal?: AbortSignal,
    options: SupplierOptions = SUPPLIER_DEFAULTS,
  ): Promise<Supplier> {
    signal?.throwIfAborted()
    const life = new Lifetime()
    const cancel = () => void life.stop(signal?.reason).catch(() => {})
    signal?.addEventListener('abort', cancel, { once: true })
    const byAddress = new Map(signers.map((signer) => [signer.address, signer]))
    const startedAt = deps.clock.monotonic()
    const frame: Frame = { config, signers: byAddress, deps, life, options, startedAt }
    try {
      return new Supplier(life, await start(frame))
    } catch (error) {
      await life.stop(error).catch(() => {})
      throw error
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  /** The last height whose actions have all been carried out. */
  get planned(): Height | undefined {
    return this.parts.miner.miner.planned
  }

  /** Aborted when a part failed for good and the daemon must end. */
  get signal(): AbortSignal {
    return this.#life.signal
  }

  /** Refuses new relays, lets running ones end or meet the drain limit, then closes. Idempotent. */
  stop(): Promise<void> {
    return this.#life.stop(new Error('the supplier stops'))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

async function start(frame: Frame): Promise<Started> {
  const { config, deps, life, options } = frame
  const { log, clock } = deps
  await ownerOnlyFolder(config.dataDir)
  const store = await openStore(join(config.dataDir, 'db'), { log, clock })
  await owned(life, store, (open) => open.close())
  const chain = buildChain(frame)
  const head = await firstBlock(frame, chain)
  await refuseLostStore(frame, chain, store)
  const miner = buildMiner(frame, chain, store)
  const open = await miner.miner.recover()
  life.run((signal) => miner.miner.run(signal), fatal(frame, 'the miner ended'))
  if (options.serve) await warnOfStakes(frame, chain)
  const engines = await buildEngines(frame, store)
  life.signal.throwIfAborted()
  // After the last relay and before the store.
  life.own(engines.energy, (book) => book.close())
  const { inference } = life.own(engines, (parts) => parts.inference.stop())
  if (options.serve) await startEngines(frame, engines, open.length > 0)
  life.signal.throwIfAborted()
  const before = await store.sessions.all()
  const served = before.map(({ header }) => header.applicationAddress)
  const relay = buildRelay(frame, chain, miner, inference, served)
  const parts: Parts = { chain, store, miner, engines, relay }
  const admin = new Admin(
    {
      health: () => healthOf(frame, parts),
      report: (signal) => buildReport(frame, parts, signal),
      pause: (until, note) => pauseEngines(engines, until, note),
      resume: () => resumeEngines(engines),
      randomBytes: deps.randomBytes,
      log: log.child({ component: 'admin' }),
    },
    { ...config.admin.listen, runFile: join(config.dataDir, 'run.json'), pid: deps.pid },
  )
  life.own(admin, (part) => part.stop())
  const adminUrl = await listening('admin.listen', config.admin.listen, () => admin.listen())
  const local = options.serve ? await buildLocal(frame, engines) : undefined
  const localPort = local === undefined ? undefined : await openLocalPort(frame, local)
  const relayPort = options.serve ? await openRelayPort(frame, relay) : undefined
  const { kind: curve } = deps.curve
  log.info(
    { height: head.height, sessions: open.length, curve, serve: options.serve },
    'supplier ready',
  )
  return { parts, relayPort, localPort, adminUrl }
}

async function openLocalPort({ config, life }: Frame, server: LocalServer): Promise<number> {
  const at = config.local?.listen ?? { host: '127.0.0.1', port: 0 }
  const port = await listening('local.listen', at, () => server.listen())
  await owned(life, server, (part) => part.stop())
  return port
}

async function openRelayPort({ config, life }: Frame, { server }: RelayParts): Promise<number> {
  const port = await listening('relay.listen', config.relay.listen, () => server.listen())
  await owned(life, server, (part) => part.stop())
  return port
}

/** What was opened while the start was called off is closed at once: nobody would do it later. */
async function owned<T>(life: Lifetime, part: T, close: (part: T) => Promise<void>): Promise<void> {
  if (!life.signal.aborted) life.own(part, close)
  else {
    await close(part)
    throw life.signal.reason
  }
}

/** @throws NodeError PORT instead of what the system says */
async function listening<T>(
  setting: string,
  { host, port }: { host: string; port: number },
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen()
  } catch (cause) {
    const known = cause instanceof Error && 'syscall' in cause
    if (!known) throw cause
    throw new NodeError('PORT', `cannot listen on ${host}:${port} (${setting})`, { cause })
  }
}

async function warnOfStakes(frame: Frame, chain: ChainParts): Promise<void> {
  const problems = stakeProblems(frame, await stakesOf(frame, chain, frame.life.signal))
  for (const problem of problems) frame.deps.log.warn({ problem }, 'nothing can be earned yet')
}

/** A loop that ends by itself is a bug of ours or a disk that is gone: the daemon must not limp on. */
export function fatal({ deps, life }: Frame, message: string): (error: unknown) => void {
  return (error) => {
    deps.log.error({ err: error }, message)
    void life.stop(error).catch(() => {})
  }
}
