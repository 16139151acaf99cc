/**
 * The engines between their owner and their relays: the machine is looked at, engines are given their places and
 * started where nobody is in the way, and follow the owner from then on. Nothing of it stands in the way of
 * claims. Tested by test/e2e/engine-down.ts and test/e2e/owner.ts.
 */
import { join } from 'node:path'
import { SupplierError } from '../base/errors.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { PowerCaps } from '../gpu/power.ts'
import { SYSTEM_ROOTS } from '../gpu/probe.ts'
import { endLeftover } from '../inference/llamacpp/orphan.ts'
import type { Store } from '../store/db.ts'
import { engineAdvice } from './advice.ts'
import { engineRecord } from './backends.ts'
import { Caps, CapsFile } from './caps.ts'
import { EnergyBook } from './energy.ts'
import { buildInference, type InferenceParts, type MachineView } from './inference.ts'
import { OwnProcesses } from './own.ts'
import { Steward } from './steward.ts'
import { type Frame, fatal } from './supplier.ts'
import { type BuiltWatch, buildWatch, machineRunner } from './watch.ts'

export interface Engines extends InferenceParts {
  readonly machine: BuiltWatch
  readonly steward: Steward
  readonly energy: EnergyBook
  /** What the owner may put right, as sentences. */
  hints(): readonly string[]
}

/** Nothing is started. @throws `signal.reason` */
export async function buildEngines(frame: Frame, store: Store): Promise<Engines> {
  const { config, deps, life, options } = frame
  const { clock, log, environment } = deps
  // The watch knows our own processes by the engines, which are placed by what it has seen.
  const late: { parts?: InferenceParts; energy?: EnergyBook } = {}
  const backends = () => late.parts?.inference.stats().backends ?? []
  const own = () => late.parts?.own() ?? new Set<number>()
  const ours = new OwnProcesses({ clock, now: own })
  const caps = await buildCaps(frame)
  const hasOllama = config.services.some(({ backend }) => backend.kind === 'ollama')
  const machine = buildWatch({
    ...{ clock, config, environment, own: () => ours.all(), platform: process.platform },
    log: log.child({ component: 'owner' }),
    isBusy: () => backends().some(({ active }) => active > 0),
    isLoaded: () => own().size > 0,
    seen: ({ gpus }) => {
      late.energy?.sample(clock.monotonic(), gpus)
      const serving = new Set([...(late.parts?.shares().values() ?? [])].flat())
      caps?.follow(
        gpus.filter(({ id }) => serving.has(id)),
        life.signal,
      )
    },
    names: hasOllama ? ['ollama'] : [],
  })
  if (options.serve) {
    await endLeftovers(frame)
    await machine.watch.look(life.signal)
  }
  const view: MachineView = {
    cards: () => machine.watch.facts().gpus,
    verdict: () => (options.serve ? machine.watch.current() : undefined),
  }
  const parts = await buildInference(frame, view)
  late.parts = parts
  const { inference, tenants } = parts
  const grace = { grace: config.machine.yieldGrace }
  const steward = new Steward({ clock, log, inference, tenants }, grace)
  const energy = new EnergyBook({
    ...{ clock, log, store: store.energy },
    stats: () => inference.stats().services,
    shares: () => parts.shares(),
    busy: () => new Set(backends().flatMap(({ services, active }) => (active > 0 ? services : []))),
  })
  late.energy = energy
  const gpus = machine.watch.facts().gpus ?? []
  const advice = await engineAdvice(
    config,
    environment,
    gpus.map(({ sample }) => sample),
  )
  if (advice !== undefined) log.warn({ advice }, 'another engine would be faster')
  const hints = () => [...(caps?.problems() ?? []), ...(advice === undefined ? [] : [advice])]
  return { ...parts, machine, steward, energy, hints }
}

/** One that outlived an earlier run would be taken for a program of the owner's, and keep its successor away. */
async function endLeftovers({ config, deps }: Frame): Promise<void> {
  for (const { id, backend } of config.services)
    if (backend.kind === 'llamacpp') await endLeftover(deps, engineRecord(config, id))
}

/** Limits of cards' power, put back at the end; undefined where the owner wants none. */
async function buildCaps({ config, deps, life }: Frame): Promise<Caps | undefined> {
  const { powerLimit } = config.machine
  if (powerLimit === undefined) return undefined
  const { clock, log, environment } = deps
  const run = machineRunner({ clock, environment, platform: process.platform })
  const file = new CapsFile(join(config.dataDir, 'power.json'))
  const keep = (found: ReadonlyMap<string, number>) => file.write(found)
  const power = new PowerCaps({ run, sys: SYSTEM_ROOTS.sys, keep })
  const caps = new Caps({ caps: power, log, left: await file.read() }, powerLimit)
  return life.own(caps, (held) =>
    withDeadline(clock, RESTORE_LIMIT, undefined, (signal) => held.restore(signal)),
  )
}

/** A driver that hangs does not hold up a stop. */
const RESTORE_LIMIT = ms(10_000)

/**
 * An engine that does not start must not keep relays from being claimed that were answered before. Where
 * nothing waits, a fault that only the owner can mend ends the start, since he is looking.
 */
export async function startEngines(
  frame: Frame,
  { inference, machine, steward, energy }: Engines,
  hasSessions: boolean,
): Promise<void> {
  const { deps, life } = frame
  steward.take(machine.watch.current())
  await steward.settled()
  // From now on, since a load may take minutes: the owner may come in the middle of it.
  life.run((signal) => machine.watch.run(signal), fatal(frame, 'the machine is not watched'))
  const verdicts = (signal: AbortSignal) => steward.follow(machine.watch.changes(signal))
  life.run(verdicts, fatal(frame, 'the owner is not followed'))
  life.run(
    (signal) => weighAgain(frame, machine, steward, signal),
    fatal(frame, 'the owner is not followed'),
  )
  try {
    await inference.start(life.signal)
  } catch (error) {
    life.signal.throwIfAborted()
    const mendsItself = error instanceof SupplierError && error.retryable
    if (!hasSessions && !mendsItself) throw error
    deps.log.error({ err: error }, 'an engine does not start; it is tried again, claims go on')
  }
  life.run((signal) => inference.run(signal), fatal(frame, 'the engines are not looked after'))
  life.run((signal) => energy.run(signal), fatal(frame, 'energy is not booked'))
}

/** The cards of an engine change without a verdict: when it is loaded, and when it falls back to the processor. */
async function weighAgain(
  { deps }: Frame,
  { watch }: BuiltWatch,
  steward: Steward,
  signal: AbortSignal,
): Promise<never> {
  for (;;) {
    await deps.clock.sleep(WEIGH_EVERY, signal)
    steward.take(watch.current())
  }
}

const WEIGH_EVERY = ms(1_000)

/** By hand: holds the machine back at once; resolves when its owner has it. */
export async function pauseEngines(
  { machine, steward }: Engines,
  until: Ms | undefined,
  note: string | undefined,
): Promise<void> {
  await machine.pauses.pause(until, note)
  steward.take(await machine.watch.poke())
  await steward.settled()
}

/** Ends a pause; what else speaks against using the machine still does. */
export async function resumeEngines({ machine, steward }: Engines): Promise<void> {
  await machine.pauses.resume()
  steward.take(await machine.watch.poke())
  await steward.settled()
}
