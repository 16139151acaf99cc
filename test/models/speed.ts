import t from 'tap'
import { fit } from '../../src/models/fit.ts'
import type { Machine } from '../../src/models/fit-place.ts'
import {
  activeParameters,
  energyPerToken,
  memoryBandwidth,
  type SpeedInput,
  speedOf,
  wattsOf,
} from '../../src/models/speed.ts'
import { cardFacts, knownCards } from '../../src/models/speed-cards.ts'
import { LLAMA_8B, QWEN3_30B_A3B } from '../support/known-models.ts'
import { shapeOfPlan } from '../support/model-heads.ts'

const GIB = 1024 ** 3

function machine(...gpus: [name: string, gib: number][]): Machine {
  return {
    memoryFree: 32 * GIB,
    gpus: gpus.map(([name, gib], at) => ({
      id: `${at}`,
      name,
      free: gib * GIB,
      total: gib * GIB,
      isShared: false,
    })),
  }
}

const llama = shapeOfPlan(LLAMA_8B)
const moe = shapeOfPlan(QWEN3_30B_A3B)

function speed(shape: typeof llama, on: Machine, more: Partial<SpeedInput> = {}) {
  const plan = fit(shape, on, { contextSize: 4_096, slots: 1 })
  return speedOf({ shape, plan, machine: on, ...more })
}

t.test('cards are known by what drivers call them', async (t) => {
  const bandwidth = (name: string) => (cardFacts(name)?.bandwidth ?? 0) / 1e9
  const names: [string, number][] = [
    ['NVIDIA GeForce RTX 3060', 360],
    ['NVIDIA GeForce RTX 3060 Ti', 448],
    ['NVIDIA GeForce RTX 3060 Laptop GPU', 336],
    ['NVIDIA GeForce RTX 4070 Ti SUPER', 672],
    ['NVIDIA GeForce RTX 5090', 1_792],
    ['NVIDIA GeForce GTX 1650 SUPER', 192],
    ['NVIDIA RTX A6000', 768],
    ['NVIDIA RTX 6000 Ada Generation', 960],
    ['NVIDIA H100 80GB HBM3', 3_350],
    ['NVIDIA H100 PCIe', 2_000],
    ['NVIDIA H200', 4_800],
    ['NVIDIA A100-SXM4-80GB', 2_039],
    ['NVIDIA A100-PCIE-40GB', 1_555],
    ['NVIDIA L4', 300],
    ['Tesla T4', 320],
    ['Tesla V100-SXM2-16GB', 900],
    ['Tesla P40', 347],
    ['AMD Radeon RX 7900 XTX', 960],
    ['AMD Radeon RX 7900XT', 800],
    ['AMD Radeon RX 9070 XT', 640],
    ['AMD Radeon RX 6600', 224],
    ['AMD Instinct MI300X', 5_300],
    ['Intel(R) Arc(TM) B580 Graphics', 456],
    ['Apple M1', 68],
    ['Apple M4 Pro', 273],
    ['Apple M3 Ultra', 819],
  ]
  for (const [name, expected] of names) t.equal(bandwidth(name), expected, name)
  t.equal(cardFacts('Matrox G200'), undefined)
  t.equal(cardFacts('NVIDIA GeForce RTX 9999'), undefined)
  for (const name of knownCards()) {
    const { bandwidth: bytes = 0, flops = 0, watts = 0 } = cardFacts(name) ?? {}
    t.ok(bytes > 60e9 && bytes <= 8e12, `${name}: ${bytes / 1e9} GB/s`)
    t.ok(flops > 2e12 && flops < 3e15 && watts >= 20 && watts <= 1_500, `${name}: the rest`)
  }
  t.ok(knownCards().length > 150)
})

t.test('an answer is bound by bandwidth, a prompt by arithmetic', async (t) => {
  const fast = speed(llama, machine(['NVIDIA GeForce RTX 4090', 24]))
  t.equal(fast.says, 'modelled')
  // Published runs of llama.cpp: 120 to 150 tokens/s, prompts some thousands.
  t.ok(fast.decode > 100 && fast.decode < 170, `${fast.decode}`)
  t.ok(fast.prefill > 2_000 && fast.prefill < 8_000, `${fast.prefill}`)
  t.match(fast.because, /RTX 4090 at 1008 GB\/s$/)
  const slow = speed(llama, machine(['NVIDIA GeForce RTX 3060', 12]))
  t.ok(slow.decode > 35 && slow.decode < 60, `${slow.decode}`)
  const cpu = speed(llama, machine())
  t.ok(cpu.decode > 3 && cpu.decode < 10, `${cpu.decode}`)
  t.match(cpu.because, /memory at 47 GB\/s, a guess/)
})

t.test('a token of chosen experts reads a part', async (t) => {
  const on = machine(['NVIDIA GeForce RTX 4090', 24])
  t.ok(speed(moe, on).decode > speed(llama, on).decode)
  const active = activeParameters(moe) / 1e9
  t.ok(active > 2.5 && active < 4, `${active} of 30 billion`)
})

t.test('parts add their times', async (t) => {
  const whole = speed(moe, machine(['NVIDIA GeForce RTX 4090', 24])).decode
  const partly = speed(moe, machine(['NVIDIA GeForce RTX 4090', 12]))
  const cpu = speed(moe, machine()).decode
  t.ok(partly.decode < whole && partly.decode > cpu, `${cpu} < ${partly.decode} < ${whole}`)
  t.match(partly.because, /RTX 4090.*, memory/)
  const ddr5 = speed(moe, machine(), {
    memory: { kind: 'ddr5', rate: 6_000, cores: 16 },
  })
  t.ok(ddr5.decode > 1.9 * cpu, `${ddr5.decode}`)
})

t.test('slots read weights together', async (t) => {
  const on = machine(['NVIDIA GeForce RTX 4090', 24])
  const plan = fit(llama, on, { contextSize: 4_096, slots: 4 })
  const { decode, together } = speedOf({ shape: llama, plan, machine: on })
  t.ok(together > 2.5 * decode && together < 4 * decode, `${decode}, ${together}`)
})

t.test('what was measured wins', async (t) => {
  const on = machine(['NVIDIA GeForce RTX 4090', 24])
  const measured = speed(llama, on, { measured: { decode: 99, prefill: 1_234 } })
  t.match(measured, { says: 'measured', decode: 99, together: 99, prefill: 1_234 })
  t.match(measured.because, /a run on this machine/)
})

t.test('a card that nobody knows is guessed, and it is said', async (t) => {
  const unknown = speed(llama, machine(['Matrox G200', 24]))
  t.match(unknown.because, /Matrox G200 at 250 GB\/s, a guess/)
})

t.test('power', async (t) => {
  t.equal(energyPerToken(300, 100), 3)
  t.equal(energyPerToken(300, 0), undefined)
  const on = machine(['NVIDIA GeForce RTX 3060', 12], ['NVIDIA GeForce RTX 4090', 24])
  t.equal(wattsOf(fit(llama, on), on), 170, 'of the card that works')
  t.equal(wattsOf(fit(llama, machine()), machine()), 65)
  t.equal(memoryBandwidth({ kind: 'ddr5', channels: 4 }), 5_200e6 * 8 * 4)
})
