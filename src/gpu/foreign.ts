/**
 * What others do with a card: its use without our own. Pure.
 *
 * A program that computes counts by being there; one that draws (a desktop, a browser) is always there and counts
 * by what it does. Where the driver does not say who uses the card, its figures are of others as long as we do
 * nothing on it, and are not known otherwise. Tested by test/gpu/foreign.ts.
 */
import type { ForeignUse, GpuProcess, GpuSample } from './sample.ts'

export interface OwnUse {
  /** A request of ours runs on this card. */
  readonly isBusy: boolean
  /** Weights of ours lie in its memory; absent: as `isBusy`. */
  readonly isLoaded?: boolean
  /** Programs that work for us and whose process is not our child, such as `ollama`. */
  readonly names?: readonly string[]
}

/** @param own the processes of our engines */
export function foreignUse(
  sample: GpuSample,
  own: ReadonlySet<number>,
  use: OwnUse = { isBusy: false },
): ForeignUse {
  if (sample.isAsleep) return { memory: 0, load: 0, programs: [] }
  const isLoaded = use.isBusy || (use.isLoaded ?? false)
  const { processes } = sample
  const ours = processes?.filter((one) => isOurs(one, own, use.names ?? []))
  // In a container the driver names processes by numbers that are not ours: then any of them may be us.
  const isTold = processes !== undefined && !(isLoaded && ours?.length === 0)
  if (!isTold || ours === undefined) {
    return figures(
      isLoaded ? undefined : sample.memoryUsed,
      use.isBusy ? undefined : sample.load,
      [],
    )
  }
  const others = processes.filter((one) => !ours.includes(one))
  return figures(
    foreignMemory(sample, ours, others),
    foreignLoad(sample, ours, others, use.isBusy),
    programsOf(others),
  )
}

function foreignMemory(
  sample: GpuSample,
  ours: readonly GpuProcess[],
  others: readonly GpuProcess[],
): number | undefined {
  if (sample.memoryUsed === undefined) {
    const sizes = others.map(({ memory }) => memory).filter((memory) => memory !== undefined)
    const isWhole = sizes.length === others.length && sample.hidesProcesses !== true
    return isWhole ? sizes.reduce((sum, size) => sum + size, 0) : undefined
  }
  let memory = sample.memoryUsed
  for (const one of ours) {
    if (one.memory === undefined) return undefined
    memory -= one.memory
  }
  return Math.max(0, memory)
}

function foreignLoad(
  sample: GpuSample,
  ours: readonly GpuProcess[],
  others: readonly GpuProcess[],
  isBusy: boolean,
): number | undefined {
  const theirs = loadOf(others)
  if (!isBusy || ours.length === 0) return highest(sample.load, theirs)
  const mine = loadOf(ours)
  // A driver that tells no load of ours, while we work, tells none of others either.
  if (mine === undefined) return undefined
  if (sample.hidesProcesses !== true) return theirs ?? 0
  return highest(theirs, sample.load === undefined ? undefined : Math.max(0, sample.load - mine))
}

/** Of those that are told; undefined: of none. */
function loadOf(processes: readonly GpuProcess[]): number | undefined {
  const loads = processes.map(({ load }) => load).filter((load) => load !== undefined)
  return loads.length === 0
    ? undefined
    : Math.min(
        1,
        loads.reduce((sum, load) => sum + load, 0),
      )
}

function highest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)
}

function programsOf(others: readonly GpuProcess[]): string[] {
  const computing = others.filter(({ kind }) => kind === 'compute')
  return [...new Set(computing.map(({ pid, name }) => name ?? `process ${pid}`))]
}

function isOurs(
  { pid, name }: GpuProcess,
  own: ReadonlySet<number>,
  names: readonly string[],
): boolean {
  if (own.has(pid)) return true
  const program = name?.toLowerCase().replace(/\.exe$/, '')
  // `ollama`, and its helpers such as `ollama_llama_server`.
  return names.some((ours) => program === ours || program?.startsWith(`${ours}_`))
}

function figures(
  memory: number | undefined,
  load: number | undefined,
  programs: readonly string[],
): ForeignUse {
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(load === undefined ? {} : { load }),
    programs,
  }
}
