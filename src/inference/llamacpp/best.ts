/**
 * Which kind of engine is the best for a machine's hardware, and whether it is the one in use.
 *
 * What each kind needs is that of the binaries of node-llama-cpp: CUDA the owner's own runtime (libcudart and
 * libcublas, 12.4 or newer, or 13) and a driver that is new enough for it, as NVIDIA's release notes have it; Vulkan
 * its loader. Libraries are looked for by name where the engine looks for them, and nothing is loaded. Tested by
 * test/inference/llamacpp/best.ts.
 */
import { delimiter, join } from 'node:path'
import type { GpuSample, GpuVendor } from '../../gpu/sample.ts'
import { type EngineKind, type EngineOptions, kindsFor, showEngines } from './install.ts'

export interface EngineLibraries {
  /** Whole runtimes, by their first number: 12 or 13. */
  readonly cuda: readonly number[]
  readonly vulkan: boolean
}

export interface BestInput {
  readonly gpus: readonly Pick<GpuSample, 'vendor' | 'name' | 'driver'>[]
  /** `platform-arch`, as Node names them. */
  readonly platform: string
  /** Of the copy that would run. */
  readonly installed: readonly EngineKind[]
  readonly libraries: EngineLibraries
}

export interface BestEngine {
  readonly best: EngineKind
  /** What an engine takes here if it is left to choose; absent: none is installed. */
  readonly inUse: EngineKind | undefined
  /** What to do for a better one, as sentences for the owner; absent: it is the best. */
  readonly advice?: string
}

const WHAT: Readonly<Record<EngineKind, string>> = {
  metal: 'Metal',
  cuda: 'CUDA',
  vulkan: 'Vulkan',
  cpu: 'the processor',
}

/** Runtime → the oldest driver that it works with, by its first number. */
const CUDA_DRIVERS: ReadonlyMap<number, number> = new Map([
  [13, 580],
  [12, 525],
])
const MINOR_LEAST: ReadonlyMap<number, number> = new Map([[12, 4]])

export function bestEngine(input: BestInput): BestEngine {
  const { platform, installed } = input
  const best = bestKind(input)
  const inUse = installed.length === 0 ? undefined : usable(input)
  const card = cardFor(input.gpus, best)
  if (best === 'cpu') {
    const unused = input.gpus[0]
    const isPlain = unused === undefined || kindsFor(platform).length === 0
    // There is no better binary, but there may be a better server.
    const advice = isPlain
      ? undefined
      : `No engine for graphics cards is made for ${platform}. Ollama or a server of your own can use the ${unused.name} (kind: ollama or upstream).`
    return { best, inUse, ...(advice === undefined ? {} : { advice }) }
  }
  // Vulkan is the best only until the runtime of CUDA is there, which may be done before the engine is got.
  if (inUse === best) return { best, inUse }
  const now =
    inUse === undefined
      ? 'no engine is installed'
      : `the engine in use computes ${inUse === 'cpu' ? 'on the processor' : `with ${WHAT[inUse]}`}`
  const steps = [stepFor(input, best), cudaHint(input, best)].filter((one) => one !== undefined)
  return {
    best,
    inUse,
    advice: [`This machine has ${article(card)} ${card}; ${now}.`, ...steps].join(' '),
  }
}

/**
 * The same for an engine that runs: it may compute on the processor although everything for the card is there.
 * @param engine as `BackendInfo` tells it. @returns absent: it is as it should be
 */
export function deviceAdvice(
  engine: { readonly kind: string; readonly device: string },
  input: BestInput,
): string | undefined {
  if (engine.kind !== 'llamacpp' || engine.device === '') return undefined
  const { best, advice } = bestEngine(input)
  if (engine.device !== 'cpu') return undefined
  const expected = usable(input)
  if (expected === 'cpu' || best === 'cpu') return advice
  const card = cardFor(input.gpus, expected)
  return `The engine computes on the processor although ${article(card)} ${card} and the ${expected} engine are here: its libraries do not load, the model does not fit, or \`gpu\` is off. The log says more.`
}

/** What this hardware can do, whatever is installed. */
function bestKind({ gpus, platform, libraries }: BestInput): EngineKind {
  const made = kindsFor(platform)
  if (made.includes('metal')) return 'metal'
  if (made.includes('cuda') && workingCuda(gpus, libraries) !== undefined) return 'cuda'
  return made.includes('vulkan') && gpus.some(({ vendor }) => vendor !== 'apple') ? 'vulkan' : 'cpu'
}

/** The first of the installed that works, which is how the engine chooses. */
function usable({ gpus, installed, libraries }: BestInput): EngineKind {
  if (installed.includes('metal')) return 'metal'
  if (installed.includes('cuda') && workingCuda(gpus, libraries) !== undefined) return 'cuda'
  if (installed.includes('vulkan') && libraries.vulkan && gpus.length > 0) return 'vulkan'
  return 'cpu'
}

function workingCuda(gpus: BestInput['gpus'], { cuda }: EngineLibraries): number | undefined {
  const cards = gpus.filter(({ vendor }) => vendor === 'nvidia')
  return cuda.find((runtime) => cards.some(({ driver }) => driverOf(driver) >= leastFor(runtime)))
}

function leastFor(runtime: number): number {
  return CUDA_DRIVERS.get(runtime) ?? Number.POSITIVE_INFINITY
}

/** A driver that does not tell its version is believed. */
function driverOf(driver: string | undefined): number {
  const major = Number(/^(\d{1,4})(\.|$)/.exec(driver ?? '')?.[1])
  return Number.isNaN(major) ? Number.POSITIVE_INFINITY : major
}

/** Its binary, unless that is here and only the system's library is not. */
function stepFor({ installed, libraries, platform }: BestInput, best: EngineKind): string {
  const command = `Run: pokt-supplier engine install ${best}`
  if (best !== 'vulkan' || libraries.vulkan) return command
  const loader = platform.startsWith('win32')
    ? 'Install the driver of the card anew: its Vulkan library is missing.'
    : 'The Vulkan library is missing: install libvulkan1 (Fedora: vulkan-loader).'
  return installed.includes('vulkan') ? loader : `${loader} ${command}`
}

/** Why a card of NVIDIA is to use Vulkan, and what CUDA would take. */
function cudaHint({ gpus, libraries, platform }: BestInput, best: EngineKind): string | undefined {
  const card = gpus.find(({ vendor }) => vendor === 'nvidia')
  if (best !== 'vulkan' || card === undefined || !kindsFor(platform).includes('cuda'))
    return undefined
  const [runtime] = libraries.cuda
  if (runtime === undefined)
    return 'For CUDA, which is faster, install its runtime first: libcudart and libcublas, 12.4 or newer.'
  return `For CUDA ${runtime}, which is faster, its driver must be ${leastFor(runtime)} or newer, not ${card.driver}.`
}

const OF_KIND: Readonly<Record<EngineKind, readonly GpuVendor[]>> = {
  metal: ['apple'],
  cuda: ['nvidia'],
  vulkan: ['nvidia', 'amd', 'intel'],
  cpu: [],
}

function cardFor(gpus: BestInput['gpus'], kind: EngineKind): string {
  const fitting = gpus.find(({ vendor }) => OF_KIND[kind].includes(vendor)) ?? gpus[0]
  return fitting?.name ?? 'Apple processor'
}

/** `an NVIDIA`, `an AMD`, `a Radeon` */
function article(name: string): string {
  return /^([AEIO]|NVIDIA|RTX|RX)/.test(name) ? 'an' : 'a'
}

export interface LibraryDeps {
  /** The names in a folder; none where it cannot be read. */
  readonly list: (folder: string) => Promise<readonly string[]>
  readonly platform: string
  /** `PATH`, `LD_LIBRARY_PATH`, `CUDA_PATH`, `SystemRoot`. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

const FOLDERS_MAX = 200

/** What `bestEngine` and `deviceAdvice` need to know, of this machine. Never throws. */
export async function readBestInput(
  deps: Omit<LibraryDeps, 'platform'>,
  gpus: BestInput['gpus'],
  options: EngineOptions,
): Promise<BestInput> {
  const { platform } = options
  const [{ use }, libraries] = await Promise.all([
    showEngines(options),
    readLibraries({ ...deps, platform }),
  ])
  return { gpus, platform, installed: use?.kinds ?? [], libraries }
}

/** What an engine could load here. Never throws. */
export async function readLibraries(deps: LibraryDeps): Promise<EngineLibraries> {
  const { list, platform } = deps
  if (platform.startsWith('darwin')) return { cuda: [], vulkan: false }
  const folders = [...new Set(await foldersOf(deps))].slice(0, FOLDERS_MAX)
  const names = new Set((await Promise.all(folders.map((folder) => list(folder)))).flat())
  return librariesIn(names, platform)
}

/** @param names of files in the folders of libraries */
export function librariesIn(names: Iterable<string>, platform: string): EngineLibraries {
  const all = [...names]
  const isWindows = platform.startsWith('win32')
  const parts = ['cudart', 'cublas', 'cublasLt']
  const cuda = [...CUDA_DRIVERS.keys()].filter((major) =>
    parts.every((name) => (isWindows ? hasDll(all, name, major) : hasShared(all, name, major))),
  )
  const loader = isWindows ? /^vulkan-1\.dll$/i : /^libvulkan\.so(\.1|$)/
  return { cuda, vulkan: all.some((file) => loader.test(file)) }
}

function hasDll(files: readonly string[], name: string, major: number): boolean {
  const wanted = `${name}64_${major}.dll`.toLowerCase()
  return files.some((file) => file.toLowerCase() === wanted)
}

/** `libcudart.so.12` alone does not tell the second number: a file beside it does, or it is believed. */
function hasShared(files: readonly string[], name: string, major: number): boolean {
  const form = new RegExp(`^lib${name}\\.so\\.${major}(?:\\.(\\d+))?(?:\\.|$)`)
  const found = files.map((file) => form.exec(file)).filter((match) => match !== null)
  const minors = found.map(([, minor]) => minor).filter((minor) => minor !== undefined)
  if (minors.length === 0) return found.length > 0
  return minors.some((minor) => Number(minor) >= (MINOR_LEAST.get(major) ?? 0))
}

async function foldersOf({ list, platform, environment }: LibraryDeps): Promise<string[]> {
  const of = (name: string) =>
    (environment[name] ?? '').split(delimiter).filter((one) => one !== '')
  if (platform.startsWith('win32')) {
    const system = join(environment['SystemRoot'] ?? 'C:\\Windows', 'System32')
    const cuda = of('CUDA_PATH').flatMap((one) => [join(one, 'bin'), join(one, 'bin', 'x64')])
    return [system, ...cuda, ...of('PATH')]
  }
  const installed = (await list('/usr/local')).filter((name) => /^cuda(-[\d.]+)?$/.test(name))
  const roots = [...installed.map((name) => join('/usr/local', name)), ...of('CUDA_PATH')]
  return [
    ...of('LD_LIBRARY_PATH'),
    ...['/usr/lib', '/usr/lib64', '/usr/lib/x86_64-linux-gnu'],
    ...roots.flatMap((root) => [join(root, 'lib64'), join(root, 'targets/x86_64-linux/lib')]),
  ]
}
