/**
 * The services with their engines, wired. An engine is made when it is loaded, and anew for every load: weights
 * that were put right are read again, it gets the cards that are free by then, and what one service fails with does
 * not keep the others from serving. Tested by test/e2e.
 */
import { assert } from '../base/errors.ts'
import type { Config } from '../config/schema.ts'
import type { ServiceConfig } from '../config/services.ts'
import type { CardFacts } from '../gpu/facts.ts'
import type { Verdict } from '../gpu/verdict.ts'
import type { BackendInfo } from '../inference/backend.ts'
import { Berth } from '../inference/berth.ts'
import { Openings } from '../inference/commitment.ts'
import { NO_FEATURES } from '../inference/features.ts'
import { Inference, type InferenceService } from '../inference/inference.ts'
import { showEngines, thisPlatform } from '../inference/llamacpp/install.ts'
import { selfTest } from '../inference/selftest.ts'
import type { Digests } from '../models/digest.ts'
import { buildBackend, shownName } from './backends.ts'
import { bytesNeeded } from './needs.ts'
import { type Lodger, Places } from './places.ts'
import type { Tenant } from './steward.ts'
import type { Frame } from './supplier.ts'
import { digestsOf, readWeights, type Weights, weightsFile } from './weights.ts'

export interface InferenceParts {
  readonly inference: Inference
  readonly services: readonly InferenceService[]
  readonly places: Places
  /** Engines that make room for the owner. */
  readonly tenants: readonly Tenant[]
  /** By service: the cards that its engine uses now; none for one that is not loaded. */
  shares(): ReadonlyMap<string, readonly string[]>
  /** Processes of our engines. */
  own(): ReadonlySet<number>
  /** For the owner, a sentence about each model that computes otherwise than its golden file says. */
  problems(): readonly string[]
}

/** What is known of the machine while engines are placed. */
export interface MachineView {
  cards(): readonly CardFacts[] | undefined
  verdict(): Verdict | undefined
}

/** One engine and its services. */
interface Group {
  readonly key: string
  readonly services: ServiceConfig[]
  readonly berth: Berth
  weights: Weights
  problem: string | undefined
}

/** @throws `signal.reason` */
export async function buildInference(frame: Frame, machine: MachineView): Promise<InferenceParts> {
  const { config, deps } = frame
  const places = await buildPlaces(frame, machine)
  const groups = new Map<string, Group>()
  const digests = digestsOf(frame)
  for (const service of config.services) {
    const key = keyOf(service)
    const group = groups.get(key) ?? newGroup(frame, { service, key, places, digests })
    group.services.push(service)
    groups.set(key, group)
  }
  const services = config.services.map((service) => serviceOf(config, service, groups))
  const { clock, log, randomBytes } = deps
  const queueMax = Math.max(...config.services.map((service) => service.queueMax))
  const all = [...groups.values()]
  const memory = {
    needOf: (berth: Berth) => {
      const group = all.find((one) => one.berth === berth)
      return group?.services[0]?.backend.kind === 'llamacpp' ? places.needOf(group.key) : undefined
    },
    budgetOf: (place: string) => places.budgetOf(place),
  }
  const inference = new Inference({ clock, log, randomBytes, services, memory }, { queueMax })
  return {
    inference,
    services,
    places,
    tenants: all.filter(yieldsOf).map((group) => tenantOf(group, places)),
    shares: () =>
      new Map(
        all.flatMap(({ berth, key, services: ours }) =>
          ours.map(({ id }) => [id, berth.isLoaded ? cardsOf(berth, places, key) : []] as const),
        ),
      ),
    own: () => new Set(all.flatMap(({ berth }) => berth.pids)),
    problems: () => all.flatMap(({ problem }) => problem ?? []),
  }
}

/** Services of the same weights and settings share an engine; other servers are asked for each alone. */
function keyOf({ id, backend, tokenizerFolder }: ServiceConfig): string {
  return backend.kind === 'llamacpp' ? JSON.stringify([backend, tokenizerFolder]) : id
}

/** Of the machine's free memory, so much goes to models that compute on the processor. */
const MEMORY_SHARE = 0.8

async function buildPlaces(frame: Frame, machine: MachineView): Promise<Places> {
  const { config, deps, life } = frame
  const engines = await showEngines({ dataFolder: config.dataDir, platform: thisPlatform() })
  const lodgers = new Map<string, Lodger>()
  for (const service of config.services) {
    const { backend, priority } = service
    if (backend.kind !== 'llamacpp') continue
    const key = keyOf(service)
    const before = lodgers.get(key)
    const path = await weightsFile(frame, service).catch(() => undefined)
    const bytes = path === undefined ? 0 : await bytesNeeded(path.path, backend, life.signal)
    lodgers.set(key, { key, backend, bytes, priority: Math.max(priority, before?.priority ?? 0) })
  }
  const places = new Places(
    {
      cards: machine.cards,
      kinds: engines.use?.kinds ?? [],
      visible: deps.environment.engine['CUDA_VISIBLE_DEVICES'],
      memory: process.availableMemory() * MEMORY_SHARE,
    },
    [...lodgers.values()],
    config.machine.memoryMax,
  )
  places.settle(machine.verdict())
  return places
}

function serviceOf(
  config: Config,
  service: ServiceConfig,
  groups: ReadonlyMap<string, Group>,
): InferenceService {
  const { id, modelName, answerTokensMax, choicesMax, strictModel, coalesce, manifest } = service
  const group = groups.get(keyOf(service))
  assert(group !== undefined, 'every service has an engine')
  return {
    serviceId: id,
    backend: group.berth,
    ...(modelName === undefined ? {} : { model: modelName }),
    rules: {
      bodyBytesMax: config.relay.minedRequestMax,
      basePath: basePathOf(config),
      strictModel,
      choicesMax,
      ...(answerTokensMax === undefined ? {} : { answerTokensMax }),
    },
    coalesce,
    showManifest: manifest,
    tokenizer: () => group.weights.tokenizer,
    ...(service.commit ? { openings: new Openings() } : {}),
  }
}

interface GroupParts {
  readonly service: ServiceConfig
  readonly key: string
  readonly places: Places
  readonly digests: Digests
}

function newGroup(frame: Frame, { service, key, places, digests }: GroupParts): Group {
  const { clock, log } = frame.deps
  const berth = new Berth(
    {
      clock,
      create: async (signal) => {
        group.weights = await readWeights({ ...frame, signal }, service, digests)
        const place = { environment: places.environmentOf(key), vramMax: places.vramMaxOf(key) }
        return await buildBackend(frame, service, group.weights, place)
      },
      loaded: async (backend, signal) => {
        const { path, sha256 } = group.weights
        group.problem = undefined
        if (path === undefined || sha256 === undefined) return
        const told = log.child({ service: service.id })
        const options = { modelPath: path, sha256, signal }
        const { state, differences } = await selfTest({ backend, log: told }, options)
        if (state === 'failed')
          group.problem = `the model of ${service.id} does not compute what its golden file says (differences: ${differences.length})`
      },
    },
    beforehand(service),
  )
  const group: Group = { key, services: [], berth, weights: {}, problem: undefined }
  return group
}

/** What is said of a service before its engine was there for the first time. */
function beforehand(service: ServiceConfig): BackendInfo {
  const { kind, contextSize, slots } = service.backend
  return {
    kind,
    model: shownName(service),
    contextSize: contextSize === 'auto' ? 0 : contextSize,
    slots: slots === 'auto' ? 1 : slots,
    device: '',
    features: NO_FEATURES,
    fingerprint: '',
    facts: {},
  }
}

/** What computes on this machine makes room for its owner, unless he says otherwise of all that it serves. */
function yieldsOf({ services }: Group): boolean {
  return services.some(({ yields, backend }) => {
    if (yields !== undefined) return yields
    if (backend.kind === 'llamacpp') return true
    const urls = backend.kind === 'ollama' ? [backend.url] : upstreamUrls(backend)
    return urls.every((url) => url === undefined || isHere(url))
  })
}

function upstreamUrls({
  url,
  servers,
}: Extract<ServiceConfig['backend'], { kind: 'upstream' }>): (string | undefined)[] {
  return servers === undefined ? [url] : servers.map((server) => server.url)
}

function isHere(url: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(new URL(url).hostname)
}

function tenantOf({ key, services, berth }: Group, places: Places): Tenant {
  return {
    services: services.map(({ id }) => id),
    cards: () => cardsOf(berth, places, key),
    move: (verdict) => places.move(key, verdict),
  }
}

/** Other programs do not say which cards they use; an engine that computes on the processor needs none. */
function cardsOf(berth: Berth, places: Places, key: string): readonly string[] {
  // Where it computed last says nothing of where it will.
  return berth.isLoaded && berth.info().device === 'cpu' ? [] : places.cardsOf(key)
}

/** Gateways send the staked URL's own path along. */
function basePathOf({ stake }: Config): string {
  return stake === undefined ? '' : new URL(stake.url).pathname.replace(/\/+$/, '')
}
