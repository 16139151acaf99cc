/**
 * `pokt-supplier gpu`: which cards are there, who uses them, and whether the supplier may use them now, with the
 * reasons, by the same watch as the daemon's. It looks for itself, so that it also works before anything was set up.
 * Tests: test/cli/gpu.ts.
 */

import { join } from 'node:path'
import { Command } from 'commander'
import { silentLog } from '../base/log.ts'
import { type Ms, ms } from '../base/units.ts'
import { list } from '../gpu/drm.ts'
import { GpuProbe, type GpuRoots, SYSTEM_ROOTS } from '../gpu/probe.ts'
import type { Runner } from '../gpu/run.ts'
import type { GpuSample } from '../gpu/sample.ts'
import {
  type BestEngine,
  bestEngine,
  deviceAdvice,
  readBestInput,
} from '../inference/llamacpp/best.ts'
import { thisPlatform } from '../inference/llamacpp/install.ts'
import { idleSettingsOf } from '../node/idle-settings.ts'
import { buildWatch, machineRunner } from '../node/watch.ts'
import { OpsError } from '../ops/admin.ts'
import type { Report } from '../ops/report.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { reportOf } from './daemon.ts'
import { ownPrograms } from './gpu-own.ts'
import { daemonPicture, type Picture, pictureOf } from './gpu-picture.ts'
import { changeText, gpuText, WallClock } from './gpu-text.ts'
import { type OwnerSettings, ownerSettings } from './owner.ts'

/** The machine that is looked at; tests put another one here. */
export interface MachineSeams {
  readonly run?: Runner
  /** As `process.platform` and `platform-arch`. */
  readonly platform?: string
  readonly enginePlatform?: string
  readonly roots?: GpuRoots
  readonly root?: string
  readonly home?: string
  readonly list?: (folder: string) => Promise<readonly string[]>
  /** The engine beside the program, as `showEngines` takes it. */
  readonly beside?: string
  /** From one look to the next. */
  readonly apart?: Ms
}

interface Options {
  config?: string
  json?: boolean
  watch?: boolean
}

/** Loads and watts that come from counters are differences. */
const APART = ms(300)

export function gpuCommand(context: Context, seams: MachineSeams = {}): Command {
  return new Command('gpu')
    .description('which graphics cards are there, who uses them, and whether we may now, and why')
    .option(
      '-c, --config <file>',
      'the configuration (default: ./supplier.yaml, else the defaults)',
    )
    .option('--json', 'one JSON object instead of text; with --watch one a line')
    .option('--watch', 'go on, and print a line whenever the answer changes, until Ctrl-C')
    .addHelpText(
      'after',
      `
Nothing is changed and no card is woken. \`gpus\` of a service takes a card's number or id.
Examples:
  pokt-supplier gpu
  pokt-supplier gpu --watch
  pokt-supplier gpu --json | jq '.cards[].id'
${EXIT_HELP}`,
    )
    .action((options: Options) => run(context, options, seams))
}

async function run(context: Context, options: Options, seams: MachineSeams): Promise<void> {
  const owner = await ownerSettings(context, options.config, seams.home)
  const look = await lookAt(context, owner, seams)
  const wall = new WallClock(owner.machine.timeZone)
  const { json, watch } = options
  const first = look.picture()
  if (json === true) context.print(JSON.stringify(first, null, watch === true ? 0 : 2))
  else context.print(gpuText(first, wall))
  if (watch !== true) return
  await follow(context, look, (picture) =>
    context.print(json === true ? JSON.stringify(picture) : changeText(picture, wall)),
  )
}

interface Look {
  readonly picture: () => Picture
  readonly watch: ReturnType<typeof buildWatch>['watch']
}

async function lookAt(context: Context, owner: OwnerSettings, seams: MachineSeams): Promise<Look> {
  const { clock, environment, signal } = context
  const platform = seams.platform ?? process.platform
  const runner = seams.run ?? machineRunner({ clock, environment, platform })
  const roots = seams.roots ?? SYSTEM_ROOTS
  const cards = new GpuProbe({ run: runner, clock, platform, roots })
  const runFile = join(owner.dataDir, 'run.json')
  let own: ReadonlySet<number> = new Set()
  const probe = {
    sample: async (signal: AbortSignal) => {
      const samples = await cards.sample(signal)
      own = await ownPrograms({ run: runner, platform, proc: roots.proc, runFile }, samples, signal)
      return samples
    },
  }
  // The counters' first values, while the daemon is asked.
  const [answer] = await Promise.all([reportOf(context, owner), probe.sample(signal)])
  const report = answer instanceof OpsError ? undefined : answer
  const { isBusy, isLoaded } = workOf(report)
  const { watch } = buildWatch({
    ...{ clock, environment, platform, probe, run: runner, log: silentLog() },
    config: owner,
    own: () => own,
    isBusy: () => isBusy,
    isLoaded: () => isLoaded || own.size > 0,
    names: report !== undefined && usesOllama(owner) ? ['ollama'] : [],
    ...(seams.root === undefined ? {} : { root: seams.root }),
  })
  for (let looks = 0; looks < 2; looks++) {
    await clock.sleep(seams.apart ?? APART, signal)
    await watch.look(signal)
  }
  const samples = (watch.facts().gpus ?? []).map(({ sample }) => sample)
  const engine = await engineOf(context, owner, { samples, report, seams })
  const unreadable =
    answer instanceof OpsError && answer.code !== 'NOT_RUNNING' ? [answer.message] : []
  const picture = () =>
    pictureOf({
      at: clock.now(),
      hasFile: owner.config !== undefined,
      settings: idleSettingsOf(owner.machine),
      facts: watch.facts(),
      verdict: watch.current(),
      problems: [...watch.problems(), ...unreadable],
      own,
      engine,
      daemon: report === undefined ? undefined : daemonPicture(report),
    })
  return { picture, watch }
}

function workOf(report: Report | undefined): { isBusy: boolean; isLoaded: boolean } {
  const engines = report?.engines ?? []
  return {
    isBusy: engines.some(({ active }) => active > 0),
    isLoaded: engines.some(({ state, device }) => state === 'ready' && device !== 'cpu'),
  }
}

function usesOllama({ config }: OwnerSettings): boolean {
  return config?.services.some(({ backend }) => backend.kind === 'ollama') ?? false
}

/** The best kind of engine; and when one runs that was not told to use the processor, whether it does. */
async function engineOf(
  { environment }: Context,
  { config, dataDir }: OwnerSettings,
  {
    samples,
    report,
    seams,
  }: { samples: readonly GpuSample[]; report: Report | undefined; seams: MachineSeams },
): Promise<BestEngine> {
  const platform = seams.enginePlatform ?? thisPlatform()
  const input = await readBestInput(
    { list: seams.list ?? list, environment: environment.engine },
    samples,
    {
      dataFolder: dataDir,
      platform,
      ...(seams.beside === undefined ? {} : { beside: seams.beside }),
    },
  )
  const best = bestEngine(input)
  if (best.advice !== undefined) return best
  const off = new Set(
    config?.services
      .filter(({ backend }) => backend.kind === 'llamacpp' && backend.gpu === 'off')
      .map(({ id }) => id),
  )
  const advice = report?.engines
    .filter(({ state, services }) => state === 'ready' && !services.some((id) => off.has(id)))
    .map((engine) => deviceAdvice(engine, input))
    .find((one) => one !== undefined)
  return advice === undefined ? best : { ...best, advice }
}

/** Until the signal, which is how it is meant to end. */
async function follow(
  { signal }: Context,
  { watch, picture }: Look,
  show: (picture: Picture) => void,
): Promise<void> {
  let isFirst = true
  const work = watch.run(signal).catch((error: unknown) => {
    if (!signal.aborted) throw error
  })
  for await (const _ of watch.changes(signal)) {
    if (!isFirst) show(picture())
    isFirst = false
  }
  await work
}
