/**
 * All cards of this machine at one moment, whoever made them.
 *
 * Each maker is asked in his own way at the same time; what cannot be asked becomes a sentence for the owner and
 * never an error. Loads and watts that come from counters are differences to the look before. Tested by
 * test/gpu/probe.ts.
 */
import type { Clock } from '../base/clock.ts'
import { AMD_VENDOR, readAmd } from './amd.ts'
import { IOREG_ARGS, parseIoreg } from './apple.ts'
import { type DrmCard, drmCards } from './drm.ts'
import { DrmClients, type DrmProcess, type DrmScan } from './fdinfo.ts'
import { EnergyCounters, INTEL_VENDOR, readIntel } from './intel.ts'
import { kfdProcesses } from './kfd.ts'
import { wholeIn } from './numbers.ts'
import { NvidiaProbe } from './nvidia-probe.ts'
import { PCI_IDS, PciNames } from './pci-names.ts'
import { type Runner, rememberMissing } from './run.ts'
import type { GpuProcess, GpuSample, GpuSamples } from './sample.ts'

const NVIDIA_VENDOR = '10de'
const NOBODY: DrmScan = { cards: new Map(), isPartial: false }
const NOTHING: GpuSamples = { gpus: [], problems: [] }

/** Where the system shows its files. */
export interface GpuRoots {
  readonly sys: string
  readonly proc: string
  readonly pciIds: readonly string[]
}

export const SYSTEM_ROOTS: GpuRoots = { sys: '/sys', proc: '/proc', pciIds: PCI_IDS }

export interface GpuProbeDeps {
  readonly run: Runner
  readonly clock: Clock
  /** As `process.platform`. */
  readonly platform: string
  readonly roots?: GpuRoots
}

export class GpuProbe {
  readonly #run: Runner
  readonly #clock: Clock
  readonly #platform: string
  readonly #roots: GpuRoots
  readonly #names: PciNames
  readonly #nvidia: NvidiaProbe
  readonly #clients: DrmClients
  readonly #watts = new EnergyCounters()
  /** What was seen last, by id: a card that falls asleep keeps its name. */
  #seen = new Map<string, GpuSample>()
  #memory: number | undefined
  #turn: Promise<void> = Promise.resolve()

  constructor({ run, clock, platform, roots = SYSTEM_ROOTS }: GpuProbeDeps) {
    this.#run = rememberMissing(run, clock)
    this.#clock = clock
    this.#platform = platform
    this.#roots = roots
    this.#names = new PciNames(roots.pciIds)
    const isLinux = platform === 'linux'
    const { sys, proc } = roots
    this.#nvidia = new NvidiaProbe({ run: this.#run, clock, sys, proc, isLinux })
    this.#clients = new DrmClients({ proc, clock })
  }

  /** Looks once; who calls meanwhile waits for his turn. @throws `signal.reason` only */
  async sample(signal: AbortSignal): Promise<GpuSamples> {
    const before = this.#turn
    let end = () => {}
    this.#turn = new Promise((resolve) => {
      end = resolve
    })
    try {
      await before
      signal.throwIfAborted()
      return await this.#look(signal)
    } finally {
      end()
    }
  }

  async #look(signal: AbortSignal): Promise<GpuSamples> {
    if (this.#platform === 'darwin') return await this.#apple(signal)
    const cards = this.#platform === 'linux' ? await drmCards(this.#roots.sys) : []
    const [nvidia, drm] = await Promise.all([this.#nvidia.sample(signal), this.#drm(cards, signal)])
    const driverless = cards.filter(({ vendorId }) => vendorId === NVIDIA_VENDOR)
    const missing: string[] = []
    if (nvidia === undefined && driverless.length > 0)
      missing.push('There is an NVIDIA card but no nvidia-smi: install the driver of NVIDIA.')
    if (nvidia === undefined && this.#platform === 'win32')
      missing.push('Under Windows cards of NVIDIA only are seen, and nvidia-smi is not there.')
    return {
      gpus: [...(nvidia?.gpus ?? []), ...drm.gpus],
      problems: [...new Set([...(nvidia?.problems ?? []), ...missing, ...drm.problems])],
    }
  }

  /** AMD's and Intel's cards. */
  async #drm(cards: readonly DrmCard[], signal: AbortSignal): Promise<GpuSamples> {
    const amd = cards.filter(({ vendorId }) => vendorId === AMD_VENDOR)
    const intel = cards.filter(({ vendorId }) => vendorId === INTEL_VENDOR)
    if (amd.length + intel.length === 0) return NOTHING
    const isAwake = [...amd, ...intel].some(({ isAsleep }) => !isAsleep)
    const { sys, proc } = this.#roots
    const scan = isAwake ? await this.#clients.scan(signal) : NOBODY
    const computing = amd.some(({ isAsleep }) => !isAsleep)
      ? await kfdProcesses(sys, proc)
      : new Map()
    const now = this.#clock.monotonic()
    const deps = { sys, names: this.#names, watts: this.#watts, now }
    const gpus: GpuSample[] = []
    for (const [index, card] of amd.entries()) {
      const gpu = await readAmd(card, index, deps, this.#seen.get(card.pci))
      // Some processors' graphics tell no load of the whole.
      const load = gpu.load ?? (gpu.isAsleep ? undefined : scan.cards.get(gpu.id)?.load)
      const whole = load === undefined ? gpu : { ...gpu, load }
      gpus.push(withPrograms(whole, scan, computing.get(card.pci) ?? []))
    }
    for (const [index, card] of intel.entries()) {
      const gpu = await readIntel(card, index, deps, this.#seen.get(card.pci))
      gpus.push(withPrograms(withSums(gpu, scan), scan, []))
    }
    signal.throwIfAborted()
    this.#seen = new Map(gpus.map((gpu) => [gpu.id, gpu]))
    const isHidden = scan.isPartial && intel.some(({ isAsleep }) => !isAsleep)
    return { gpus, problems: isHidden ? [HIDDEN] : [] }
  }

  async #apple(signal: AbortSignal): Promise<GpuSamples> {
    const result = await this.#run('ioreg', IOREG_ARGS, signal)
    if (result.is !== 'done')
      return { gpus: [], problems: ['ioreg does not tell of the graphics of this Mac.'] }
    if (this.#memory === undefined) {
      const size = await this.#run('sysctl', ['-n', 'hw.memsize'], signal)
      this.#memory = size.is === 'done' ? wholeIn(size.text) : undefined
    }
    const gpu = parseIoreg(result.text, this.#memory)
    return gpu === undefined ? NOTHING : { gpus: [gpu], problems: [] }
  }
}

const HIDDEN =
  'How much other users do with the Intel card is not shown to this user: its load and memory are of his programs only.'

/** Intel's drivers tell nothing of the whole card: it is what its programs do. */
function withSums(gpu: GpuSample, scan: DrmScan): GpuSample {
  if (gpu.isAsleep) return gpu
  const use = scan.cards.get(gpu.id)
  // Nobody uses it: that is known only if nobody is hidden.
  if (use === undefined) return scan.isPartial ? gpu : { ...gpu, load: 0, memoryUsed: 0 }
  const memory = use.processes.map((one) => memoryOn(gpu, one)).filter((one) => one !== undefined)
  return {
    ...gpu,
    ...(use.load === undefined ? {} : { load: use.load }),
    ...(memory.length === 0 ? {} : { memoryUsed: memory.reduce((sum, one) => sum + one, 0) }),
  }
}

function withPrograms(gpu: GpuSample, scan: DrmScan, computing: readonly GpuProcess[]): GpuSample {
  if (gpu.isAsleep) return gpu
  const listed = (scan.cards.get(gpu.id)?.processes ?? []).map((one): GpuProcess => {
    const { system, memory: _, ...rest } = one
    const memory = memoryOn(gpu, one)
    return memory === undefined ? rest : { ...rest, memory }
  })
  // ROCm's memory and that of the same program's other files are counted apart by the driver.
  const both = listed.map((one) => {
    const rocm = computing.find(({ pid }) => pid === one.pid)
    if (rocm === undefined) return one
    return { ...one, kind: rocm.kind, memory: Math.max(one.memory ?? 0, rocm.memory ?? 0) }
  })
  const others = computing.filter(({ pid }) => !listed.some((one) => one.pid === pid))
  const processes = [...both, ...others].sort((a, b) => a.pid - b.pid)
  return { ...gpu, processes, ...(scan.isPartial ? { hidesProcesses: true } : {}) }
}

/** A card without memory of its own uses the machine's. */
function memoryOn({ isShared }: GpuSample, { memory, system }: DrmProcess): number | undefined {
  if (!isShared) return memory
  return memory === undefined && system === undefined ? undefined : (memory ?? 0) + (system ?? 0)
}
