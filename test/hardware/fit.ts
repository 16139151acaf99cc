/** What `fit` says that a model takes on a card, against what the card says when it is loaded. */
import t, { type Test } from 'tap'
import { loadLibrary } from '../../src/inference/llamacpp/library.ts'
import { type FitPlan, type FitWish, fit } from '../../src/models/fit.ts'
import { CARD_OVERHEAD } from '../../src/models/fit-place.ts'
import { findHardware, greedy, Hardware, mib, textOf } from '../support/hardware.ts'

const ERROR_MAX = 0.1
/** Tokens of each slot, and slots. */
const SIZES = [
  [2_048, 1],
  [8_192, 1],
  [4_096, 4],
  [8_192, 8],
] as const
const CELLS = 256

const found = await findHardware()
if (typeof found === 'string') t.plan(0, found)
else {
  t.setTimeout(600_000)
  await onCard(t, await Hardware.open(found, t))
}

async function onCard(t: Test, machine: Hardware): Promise<void> {
  t.comment(`${machine.name}, ${machine.shape.quantisation} of ${mib(machine.shape.weights.total)}`)
  await t.test('an engine takes what was said, within a tenth', async (t) => {
    for (const [contextSize, slots] of SIZES) await engine(t, machine, { contextSize, slots })
  })
  await t.test('so do other kinds of keys and values', async (t) => {
    for (const [contextSize, slots] of SIZES.slice(1))
      await compact(t, machine, { contextSize, slots, kvType: 'q8_0' })
  })
  await t.test('a plan for the card loads, even the largest', (t) => largest(t, machine))
  await t.test('what is left open is found by the engine, too', (t) => open(t, machine))
}

interface Size {
  readonly contextSize: number
  readonly slots: number
}

async function engine(t: Test, machine: Hardware, size: Size): Promise<void> {
  const plan = fit(machine.shape, await machine.machine(), size)
  if (plan.verdict !== 'gpu') return t.comment(`${size.contextSize} x ${size.slots}: no room here`)
  const before = await machine.used()
  const backend = machine.backend(size)
  await backend.start()
  // A step of many tokens: some memory is taken by the first one only.
  await textOf(backend, greedy(1, 4))
  judge(t, machine, plan, { took: (await machine.used()) - before, withDriver: true })
  await backend.stop()
}

/** In this process, since an engine has no setting for it; its driver has taken its part before. */
async function compact(t: Test, machine: Hardware, wish: FitWish & Size): Promise<void> {
  const plan = fit(machine.shape, await machine.machine(), wish)
  if (plan.verdict !== 'gpu') return t.comment(`${wish.contextSize} x ${wish.slots}: no room here`)
  Object.assign(process.env, machine.environment)
  const { llama: library } = await loadLibrary(machine.engine.url)
  const llama = await library.getLlama({
    ...{ gpu: machine.kind, build: 'never', skipDownload: true },
    logLevel: library.LlamaLogLevel.error,
  })
  try {
    await llama.getVramState()
    const before = await machine.used()
    const model = await llama.loadModel({ modelPath: machine.modelPath, gpuLayers: 'max' })
    await model.createContext({
      contextSize: wish.contextSize,
      sequences: wish.slots,
      batchSize: 512,
      flashAttention: true,
      experimentalKvCacheKeyType: 'Q8_0',
      experimentalKvCacheValueType: 'Q8_0',
      failedCreationRemedy: false,
    })
    judge(t, machine, plan, { took: (await machine.used()) - before, withDriver: false })
  } finally {
    await llama.dispose()
  }
}

/** One row of the table. */
function judge(
  t: Test,
  { card }: Hardware,
  { needs, contextSize, slots, kvType }: FitPlan,
  { took, withDriver }: { took: number; withDriver: boolean },
): void {
  const whole = needs.gpus.get(card.id) ?? 0
  const driver = card.isShared ? 0 : CARD_OVERHEAD
  const said = withDriver ? whole : whole - driver
  const error = (said - took) / took
  const rest = withDriver ? `, ${mib(took - (whole - driver))} of it the driver's` : ''
  const row = `${contextSize} x ${slots} ${kvType}: said ${mib(said)}, took ${mib(took)}${rest}: off by ${(error * 100).toFixed(1)} %`
  t.ok(Math.abs(error) <= ERROR_MAX, row)
}

/** The most for which `fit` still says that the card holds it, in steps of the engine's. */
async function largest(t: Test, machine: Hardware): Promise<void> {
  const here = await machine.machine()
  const { shape } = machine
  const plans = (slots: number) => (cells: number) =>
    fit(shape, here, { contextSize: cells * CELLS, slots })
  for (const slots of [1, 8]) {
    const plan = most(plans(slots), Math.floor(shape.contextTrained / CELLS))
    if (plan === undefined) {
      t.comment(`nothing for ${slots} slots has room here`)
      continue
    }
    const { contextSize } = plan
    const before = await machine.used()
    const backend = machine.backend({ contextSize, slots })
    await t.resolves(backend.start(), `${contextSize} x ${slots} loads`)
    t.equal(backend.stats().degraded, undefined)
    const took = (await machine.used()) - before
    const said = plan.needs.gpus.get(machine.card.id) ?? 0
    t.comment(`${contextSize} x ${slots}: said ${mib(said)}, took ${mib(took)}`)
    t.ok(took >= said * (1 - ERROR_MAX), 'all of it is on the card')
    await backend.stop()
  }
}

function most(planOf: (cells: number) => FitPlan, max: number): FitPlan | undefined {
  let [low, high] = [0, max]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (planOf(middle).verdict === 'gpu') low = middle
    else high = middle - 1
  }
  return low === 0 ? undefined : planOf(low)
}

async function open(t: Test, machine: Hardware): Promise<void> {
  const plan = fit(machine.shape, await machine.machine())
  const backend = machine.backend({ contextSize: 'auto', slots: 'auto' })
  await t.resolves(backend.start())
  const { contextSize, slots } = backend.info()
  t.comment(
    `the engine: ${contextSize} x ${slots}; the plan: ${plan.contextSize} x ${plan.slots} (${plan.verdict})`,
  )
  t.equal(backend.stats().degraded, undefined)
  t.ok((await textOf(backend, greedy(1, 4))).length >= 0)
  await backend.stop()
}
