/**
 * The watch over the owner's machine, put together: real programs, real files, the owner's settings and the file of
 * his pauses. The daemon and `pokt-supplier gpu` judge by the same one. Tested by test/node/watch.ts.
 */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { ms } from '../base/units.ts'
import type { Environment } from '../config/environment.ts'
import type { Config } from '../config/schema.ts'
import { foreignUse } from '../gpu/foreign.ts'
import { IdleWatch } from '../gpu/idle.ts'
import { Pauses } from '../gpu/pauses.ts'
import { GpuProbe } from '../gpu/probe.ts'
import { type Runner, rememberMissing, systemRunner, textOnly } from '../gpu/run.ts'
import type { GpuSamples } from '../gpu/sample.ts'
import { machineSources, paceOn } from '../gpu/sources.ts'
import { idleSettingsOf } from './idle-settings.ts'

export type Probe = Pick<GpuProbe, 'sample'>

export interface WatchDeps {
  readonly clock: Clock
  readonly log: Log
  readonly config: { readonly machine: Config['machine']; readonly dataDir: string }
  readonly environment: Pick<Environment, 'session'>
  /** As `process.platform`. */
  readonly platform: string
  /** Processes of our engines. */
  readonly own: () => ReadonlySet<number>
  /** A request of ours runs. */
  readonly isBusy: () => boolean
  /** Weights of ours are in memory. */
  readonly isLoaded: () => boolean
  /** Programs that work for us and are not our children, such as `ollama`. */
  readonly names?: readonly string[]
  /** Called with each look at the cards. */
  readonly seen?: (samples: GpuSamples) => void
  /** Absent: one of its own. */
  readonly probe?: Probe
  /** Absent: real programs. */
  readonly run?: Runner
  /** What stands for `/`, apart from the probe's own folders. */
  readonly root?: string
}

export interface BuiltWatch {
  readonly watch: IdleWatch
  readonly probe: Probe
  readonly pauses: Pauses
}

/** PowerShell takes seconds to start. */
const WINDOWS_LIMIT = ms(8_000)

/** The file that holds a pause, also for a daemon that starts later. */
export function pausesIn(dataDir: string, clock: Pick<Clock, 'now'>): Pauses {
  return new Pauses({ now: () => clock.now() }, join(dataDir, 'pause.json'))
}

export function machineRunner(deps: Pick<WatchDeps, 'clock' | 'environment' | 'platform'>): Runner {
  const { clock, environment, platform } = deps
  const limit = platform === 'win32' ? { limit: WINDOWS_LIMIT } : {}
  return systemRunner({ clock, environment: environment.session, ...limit })
}

/** Opens nothing and starts nothing: `watch.run` works, `watch.look` looks once. */
export function buildWatch(deps: WatchDeps): BuiltWatch {
  const { clock, log, config, platform, own } = deps
  const runner = deps.run ?? machineRunner(deps)
  const probe = deps.probe ?? new GpuProbe({ run: runner, clock, platform })
  const pauses = pausesIn(config.dataDir, clock)
  const settings = idleSettingsOf(config.machine)
  const sources = machineSources(
    {
      clock,
      run: textOnly(rememberMissing(runner, clock)),
      platform,
      gpus: async (signal) => {
        const samples = await probe.sample(signal)
        deps.seen?.(samples)
        return samples
      },
      ...(deps.root === undefined ? {} : { root: deps.root }),
    },
    settings,
  )
  const names = deps.names ?? []
  const watch = new IdleWatch(
    {
      clock,
      log,
      pauses,
      sources,
      own,
      foreign: (sample, ours) => {
        const use = { isBusy: deps.isBusy(), isLoaded: deps.isLoaded(), names }
        return foreignUse(sample, ours, use)
      },
    },
    { settings, pace: paceOn(platform) },
  )
  return { watch, probe, pauses }
}
