/**
 * What `pokt-supplier gpu` shows, as data: the cards, who uses them, and whether they may be used now and why.
 * `--json` gives it as it is; fields are added and never renamed. Times are milliseconds since 1970, sizes are bytes,
 * loads are 0 to 1. Tests: test/cli/gpu.ts.
 */
import type { Ms } from '../base/units.ts'
import type { PowerSource } from '../gpu/battery.ts'
import type { Facts, IdleSettings } from '../gpu/facts.ts'
import type { Pause } from '../gpu/pauses.ts'
import type { Presence } from '../gpu/presence.ts'
import type { ForeignUse, GpuProcess, GpuSample } from '../gpu/sample.ts'
import type { Reason, Verdict } from '../gpu/verdict.ts'
import type { BestEngine } from '../inference/llamacpp/best.ts'
import type { OwnerReport, Report } from '../ops/report.ts'

export interface ProgramPicture extends GpuProcess {
  /** The running daemon, or its engine. */
  readonly isOurs: boolean
}

export interface CardPicture extends Omit<GpuSample, 'processes' | 'index'> {
  /** As `gpus` in the configuration counts them. */
  readonly number: number
  /** Absent: the driver does not say who uses it. */
  readonly programs?: readonly ProgramPicture[]
  /** What others do with it. */
  readonly foreign: ForeignUse
  /** Against using this card; none: it may be used, if the machine may. */
  readonly reasons: readonly Reason[]
}

export interface Picture {
  readonly at: Ms
  /** Whether the settings come from a file. */
  readonly settings: 'file' | 'defaults'
  readonly serve: IdleSettings['serve']
  /** Nothing speaks against using the machine; single cards may still be left to the owner. */
  readonly mayServe: boolean
  /** Against using the machine at all. */
  readonly reasons: readonly Reason[]
  /** When it is looked at again if nothing changes, where that is known. */
  readonly until?: Ms
  readonly cards: readonly CardPicture[]
  /** Who tells when somebody last typed. */
  readonly presence?: Omit<Presence, 'problems'>
  readonly battery?: PowerSource
  readonly hours?: { readonly text: string; readonly isOpen: boolean; readonly next?: Ms }
  readonly pause?: Pause
  readonly problems: readonly string[]
  readonly engine: BestEngine
  /** Absent: none runs. */
  readonly daemon?: DaemonPicture
}

export interface DaemonPicture {
  readonly pid: number
  readonly version: string
  /** Its own verdict, and what its engines do; older versions do not say. */
  readonly owner?: OwnerReport
}

export function daemonPicture({ pid, version, owner }: Report): DaemonPicture {
  return { pid, version, ...(owner === undefined ? {} : { owner }) }
}

export interface PictureInput {
  readonly at: Ms
  readonly hasFile: boolean
  readonly settings: IdleSettings
  readonly facts: Facts
  readonly verdict: Verdict
  readonly problems: readonly string[]
  readonly own: ReadonlySet<number>
  readonly engine: BestEngine
  readonly daemon: DaemonPicture | undefined
}

export function pictureOf(input: PictureInput): Picture {
  const { at, settings, facts, verdict, own } = input
  const { presence, battery, pause } = facts
  const cards = (facts.gpus ?? []).map(({ sample, foreign }, number): CardPicture => {
    const { processes, index: _, ...card } = sample
    const programs = processes?.map((one) => ({ ...one, isOurs: own.has(one.pid) }))
    return {
      number,
      ...card,
      ...(programs === undefined ? {} : { programs }),
      foreign,
      reasons: verdict.gpus.get(sample.id) ?? [],
    }
  })
  return {
    at,
    settings: input.hasFile ? 'file' : 'defaults',
    serve: settings.serve,
    mayServe: verdict.machine.length === 0,
    reasons: verdict.machine,
    ...(verdict.until === undefined ? {} : { until: verdict.until }),
    cards,
    ...(presence === undefined ? {} : { presence: withoutProblems(presence) }),
    ...(battery === undefined ? {} : { battery }),
    ...hoursOf(settings, at),
    ...(pause === undefined ? {} : { pause }),
    problems: [...new Set(input.problems)],
    engine: input.engine,
    ...(input.daemon === undefined ? {} : { daemon: input.daemon }),
  }
}

function withoutProblems({ problems: _, ...presence }: Presence): Omit<Presence, 'problems'> {
  return presence
}

function hoursOf({ hours }: IdleSettings, at: Ms): Pick<Picture, 'hours'> {
  if (hours === undefined) return {}
  const next = hours.nextChange(at)
  const isOpen = hours.isOpen(at)
  return { hours: { text: hours.text, isOpen, ...(next === undefined ? {} : { next }) } }
}
