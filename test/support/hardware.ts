/**
 * The graphics card, the engine and the weights of this machine, for the tests of test/hardware.
 *
 * They run where there is a card and an engine that uses it, and are skipped elsewhere with the reason in a line.
 * The engine is the one of the folder POKT_SUPPLIER_TEST_DATA, else of ~/.pokt-supplier, else the one beside
 * this package; POKT_SUPPLIER_TEST_KIND takes another of its kinds than the fastest. Weights are those of
 * POKT_SUPPLIER_TEST_MODEL (a GGUF), else ones of chance, which are written first: nothing is downloaded.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { readEnvironment } from '../../src/config/environment.ts'
import { list } from '../../src/gpu/drm.ts'
import { mibIn } from '../../src/gpu/numbers.ts'
import { GpuProbe } from '../../src/gpu/probe.ts'
import { type Runner, systemRunner } from '../../src/gpu/run.ts'
import type { GpuSample, GpuVendor } from '../../src/gpu/sample.ts'
import { readLibraries } from '../../src/inference/llamacpp/best.ts'
import { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import {
  type EngineCopy,
  type EngineKind,
  showEngines,
  thisPlatform,
} from '../../src/inference/llamacpp/install.ts'
import { LLAMACPP_DEFAULTS, type LlamaCppOptions } from '../../src/inference/llamacpp/options.ts'
import type { ChatRequest } from '../../src/inference/request.ts'
import type { Machine } from '../../src/models/fit-place.ts'
import { readGgufHeads } from '../../src/models/gguf.ts'
import { type ModelShape, shapeOf } from '../../src/models/shape.ts'
import { Places } from '../../src/node/places.ts'
import { type RandomModel, writeRandomModel } from './random-gguf.ts'
import { GREEDY, request } from './tiny-model.ts'

export const MIB = 1024 ** 2
/** 430 million numbers, and a conversation that takes much memory: 104 KiB a token. */
const CHANCE: RandomModel = {
  ...{ width: 1_024, layers: 26, heads: 16, keyHeads: 16, hidden: 3_584 },
  ...{ context: 131_072, vocabulary: 32_000, kind: 'llama' },
}
const VENDORS: Readonly<Record<Exclude<EngineKind, 'cpu'>, readonly GpuVendor[]>> = {
  metal: ['apple'],
  cuda: ['nvidia'],
  vulkan: ['nvidia', 'amd', 'intel'],
}
/** What other programs take or give back while we look. */
const NOISE = 8 * MIB
const SETTLE_MS = 5_000

export type CardKind = keyof typeof VENDORS

/** Who closes what was opened: a test, or a benchmark. */
export interface Closer {
  teardown(close: () => unknown): void
}

export interface Found {
  readonly run: Runner
  readonly probe: GpuProbe
  readonly cards: readonly GpuSample[]
  readonly card: GpuSample
  readonly engine: EngineCopy
  readonly kind: CardKind
}

/** A signal that nobody gives. */
export function never(): AbortSignal {
  return new AbortController().signal
}

/** @returns a sentence: why nothing can be tested here */
export async function findHardware(): Promise<Found | string> {
  const { session, engine: environment } = readEnvironment()
  const clock = systemClock
  const run = systemRunner({ clock, environment: session, limit: ms(20_000) })
  const probe = new GpuProbe({ run, clock, platform: process.platform })
  const { gpus, problems } = await probe.sample(never())
  if (gpus.length === 0) return `no graphics card is seen here. ${problems.join(' ')}`.trim()
  const dataFolder = process.env['POKT_SUPPLIER_TEST_DATA'] ?? join(homedir(), '.pokt-supplier')
  const platform = thisPlatform()
  const { use } = await showEngines({ dataFolder, platform })
  const wanted = process.env['POKT_SUPPLIER_TEST_KIND']
  const usable = (kind: CardKind) => gpus.filter(({ vendor }) => VENDORS[kind].includes(vendor))
  const kinds = (use?.kinds ?? [])
    .filter((kind) => kind !== 'cpu')
    .filter((kind) => usable(kind).length > 0 && (wanted === undefined || wanted === kind))
  const names = gpus.map(({ name }) => name).join(', ')
  const [first] = kinds
  if (use === undefined || first === undefined)
    return `no engine for ${names} is installed${wanted === undefined ? '' : ` (of kind ${wanted})`}: pokt-supplier engine install, or set POKT_SUPPLIER_TEST_DATA`
  const libraries = await readLibraries({ list, platform, environment })
  const has: Readonly<Record<CardKind, boolean>> = {
    metal: true,
    cuda: libraries.cuda.length > 0,
    vulkan: libraries.vulkan,
  }
  const kind = kinds.find((one) => has[one])
  if (kind === undefined) return `the libraries that the ${first} engine needs are not here`
  const [card] = usable(kind).sort((a, b) => freeOn(b) - freeOn(a))
  if (card === undefined) return `no card for the ${kind} engine`
  return { run, probe, cards: gpus, card, engine: use, kind }
}

/** Bytes; of a card that does not tell, 0. */
export function freeOn({ memoryTotal = 0, memoryUsed = 0 }: GpuSample): number {
  return memoryTotal - memoryUsed
}

export class Hardware {
  readonly card: GpuSample
  readonly engine: EngineCopy
  readonly kind: CardKind
  readonly modelPath: string
  readonly shape: ModelShape
  /** Of an engine that sees this card and no other. */
  readonly environment: Readonly<Record<string, string>>
  readonly #found: Found
  readonly #folder: string
  readonly #closer: Closer
  #made = 0

  private constructor(
    found: Found,
    {
      folder,
      closer,
      modelPath,
      shape,
    }: {
      folder: string
      closer: Closer
      modelPath: string
      shape: ModelShape
    },
  ) {
    const { card, engine, kind, cards } = found
    this.card = card
    this.engine = engine
    this.kind = kind
    this.modelPath = modelPath
    this.shape = shape
    this.environment = { ...readEnvironment().engine, ...pinned(card, cards, kind) }
    this.#found = found
    this.#folder = folder
    this.#closer = closer
  }

  static async open(found: Found, closer: Closer): Promise<Hardware> {
    const folder = mkdtempSync(join(tmpdir(), 'hardware-'))
    closer.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const own = process.env['POKT_SUPPLIER_TEST_MODEL']
    const modelPath = own ?? join(folder, 'chance.gguf')
    if (own === undefined) writeRandomModel(modelPath, CHANCE)
    const shape = shapeOf(await readGgufHeads(modelPath, never()))
    return new Hardware(found, { folder, closer, modelPath, shape })
  }

  get name(): string {
    return `${this.card.name} with ${this.kind}`
  }

  /** The built-in engine on the card; not started. Each is another process. */
  backend(wishes: Partial<LlamaCppOptions> = {}): LlamaCppBackend {
    const backend = new LlamaCppBackend(
      { clock: systemClock, log: silentLog(), random: () => 0.5 },
      {
        ...LLAMACPP_DEFAULTS,
        model: 'hardware',
        modelPath: this.modelPath,
        contextSize: 2_048,
        slots: 2,
        gpu: this.kind,
        niceness: 0,
        defaults: GREEDY,
        library: this.engine.url,
        environment: this.environment,
        execArgv: [],
        recordFile: join(this.#folder, `engine-${this.#made++}.json`),
        ...wishes,
      },
    )
    this.#closer.teardown(() => backend.stop())
    return backend
  }

  /** The card as it is now. @throws Error when it is not seen any more */
  async look(): Promise<GpuSample> {
    const { gpus, problems } = await this.#found.probe.sample(never())
    const now = gpus.find(({ id }) => id === this.card.id)
    if (now === undefined) throw new Error(`${this.card.name} is gone: ${problems.join(' ')}`)
    return now
  }

  /**
   * Bytes in use on the card at this moment; of one that sleeps, 0. Of a card of NVIDIA nothing else is asked:
   * a whole look at a card that works takes a second more, to see who uses it.
   */
  async usedNow(): Promise<number> {
    const { id, vendor } = this.card
    if (vendor !== 'nvidia' || !id.startsWith('GPU-')) return (await this.look()).memoryUsed ?? 0
    const words = [`--id=${id}`, '--query-gpu=memory.used', '--format=csv,noheader,nounits']
    const result = await this.#found.run('nvidia-smi', words, never())
    const used = result.is === 'done' ? mibIn(result.text) : undefined
    if (used === undefined) throw new Error(`nvidia-smi does not tell the memory of ${id}`)
    return used
  }

  /** The same, once it stands still. */
  async used(): Promise<number> {
    const end = systemClock.monotonic() + SETTLE_MS
    let before = await this.usedNow()
    for (;;) {
      await systemClock.sleep(ms(200))
      const now = await this.usedNow()
      if (Math.abs(now - before) < NOISE || systemClock.monotonic() > end) return now
      before = now
    }
  }

  /** What `fit` is told: this card alone, and the memory of the machine. */
  async machine(): Promise<Machine> {
    const now = await this.look()
    const { id, name, memoryTotal: total = 0, isShared, hasDisplay } = now
    return {
      gpus: [
        {
          ...{ id, name, total, isShared, free: freeOn(now) },
          ...(hasDisplay === undefined ? {} : { hasDisplay }),
        },
      ],
      memoryFree: process.availableMemory(),
    }
  }
}

/** What a supplier would tell the engine, so that it takes this card of several. */
function pinned(
  card: GpuSample,
  cards: readonly GpuSample[],
  kind: CardKind,
): Readonly<Record<string, string>> {
  const places = new Places(
    {
      cards: () =>
        cards.map((sample) => ({
          sample,
          foreign: { memory: 0, load: 0, programs: [] },
          at: ms(0),
        })),
      kinds: [kind],
      visible: undefined,
      memory: process.availableMemory(),
    },
    [
      {
        key: 'one',
        backend: { gpu: 'auto', gpus: [card.id], vramMax: undefined },
        ...{ priority: 0, bytes: 0 },
      },
    ],
    undefined,
  )
  places.settle(undefined)
  return places.environmentOf('one')
}

/** Told apart by their beginning, without chance. */
export function greedy(number: number, maxTokens = 32): ChatRequest {
  const content = `${number}: tell me about the number ${number}, and what it is good for.`
  return request(content, { temperature: 0, maxTokens })
}

/** Everything that was answered, thoughts too. */
export async function textOf(
  backend: Pick<LlamaCppBackend, 'generate'>,
  asked: ChatRequest,
): Promise<string> {
  const { reasoning = '', text } = await backend.generate(asked, { signal: never() })
  return reasoning + text
}

export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(0)} MiB`
}
