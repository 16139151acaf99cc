/**
 * What a model would do on this machine, in numbers and in words: where it runs, how fast, for how many joules
 * and, given a price, for how much POKT. Tests: test/cli/models-show.ts.
 */
import { type Command, InvalidArgumentError } from 'commander'
import { formatPokt, type Upokt } from '../base/units.ts'
import { amount } from '../config/values.ts'
import { type FitPlan, type FitWish, fit } from '../models/fit.ts'
import { type Economy, income } from '../models/recommend.ts'
import type { ModelShape } from '../models/shape.ts'
import {
  energyPerToken,
  type MeasuredSpeed,
  type Speed,
  speedOf,
  wattsOf,
} from '../models/speed.ts'
import type { Hardware } from '../node/hardware.ts'
import { flag } from './flags.ts'

export interface PriceOptions {
  relayPrice?: Upokt
  relaysPerDay?: number
}

export interface Estimate {
  readonly plan: FitPlan
  /** Absent where it does not fit. */
  readonly speed?: Speed
  readonly watts: number
  readonly joulesPerToken?: number
  readonly upoktPerDay?: Upokt
}

export interface EstimateInput {
  readonly shape: ModelShape
  readonly hardware: Hardware
  readonly wish?: FitWish
  readonly economy?: Economy
  readonly measured?: (plan: FitPlan) => MeasuredSpeed | undefined
}

export function withPrice(command: Command): Command {
  return command
    .option(
      '--relay-price <amount>',
      'what the chain pays for a relay, such as 150upokt',
      flag(amount),
    )
    .option('--relays-per-day <n>', 'how many come; by default as many as it can answer', whole)
}

export function economyOf({ relayPrice, relaysPerDay }: PriceOptions): Economy | undefined {
  if (relayPrice === undefined) return undefined
  return {
    upoktPerRelay: relayPrice,
    ...(relaysPerDay === undefined ? {} : { relaysPerDay }),
  }
}

/** For commander: a number that counts something. */
export function whole(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('write a whole number, 1 or more')
}

export function estimateOf(input: EstimateInput): Estimate {
  const { shape, hardware, wish, economy } = input
  const { machine, memory } = hardware
  const plan = fit(shape, machine, wish)
  const watts = wattsOf(plan, machine)
  if (plan.verdict === 'no') return { plan, watts }
  const measured = input.measured?.(plan)
  const speed = speedOf({
    shape,
    plan,
    machine,
    memory,
    ...(measured === undefined ? {} : { measured }),
  })
  const joulesPerToken = energyPerToken(watts, speed.together)
  return {
    plan,
    watts,
    speed,
    ...(joulesPerToken === undefined ? {} : { joulesPerToken }),
    ...(economy === undefined ? {} : { upoktPerDay: income(economy, speed) }),
  }
}

export const WHERE_TEXT = {
  gpu: 'fits one card',
  split: 'fits several cards together',
  partial: 'fits partly on a card, and partly on the processor',
  cpu: 'runs on the processor',
  no: 'does not fit this machine',
} as const

/** One line. */
export function verdictText({ plan, speed }: Pick<Estimate, 'plan' | 'speed'>): string {
  const size = `${plan.slots} x ${plan.contextSize} tokens`
  const rate = speed === undefined ? '' : `, about ${number(speed.decode)} tokens/s (${speed.says})`
  return plan.verdict === 'no' ? WHERE_TEXT.no : `${WHERE_TEXT[plan.verdict]}: ${size}${rate}`
}

/** Speed, power and money; what is not known is said to be missing. */
export function workLines(
  { speed, watts, joulesPerToken, upoktPerDay }: Estimate,
  { relayPrice, relaysPerDay }: PriceOptions,
  powerPrice: number | undefined,
): string[] {
  if (speed === undefined) return []
  const { decode, together, prefill, says, because } = speed
  const about = says === 'modelled' ? ', which may be off by a third' : ''
  const lines = [
    `speed: ${number(decode)} tokens/s of one answer, ${number(together)} of all together, ${number(prefill)} of a prompt`,
    `  ${says} from ${because}${about}`,
  ]
  if (joulesPerToken !== undefined)
    lines.push(`power: ${number(joulesPerToken)} J a token, at ${number(watts)} W by the makers`)
  if (powerPrice !== undefined)
    lines.push(
      `  ${((watts * 24 * powerPrice) / 1_000).toFixed(2)} a day at full load, at your price of a kWh`,
    )
  if (upoktPerDay === undefined)
    lines.push('income: not known without a price: give --relay-price and --relays-per-day')
  else if (relaysPerDay === undefined)
    lines.push(
      `income: at most ${formatPokt(upoktPerDay)} a day, if as many relays come as it can answer; give --relays-per-day`,
    )
  else
    lines.push(
      `income: ${formatPokt(upoktPerDay)} a day for at most ${relaysPerDay} relays, at ${relayPrice} upokt each`,
    )
  return lines
}

/** For `--json`: no maps, no bigints. */
export function estimateJson({ plan, speed, watts, joulesPerToken, upoktPerDay }: Estimate) {
  const { verdict, contextSize, slots, gpuLayers, cpuLayers, needs, lines } = plan
  return {
    verdict,
    contextSize,
    slots,
    gpuLayers,
    cpuLayers,
    needs: { cards: Object.fromEntries(needs.gpus), memory: needs.memory },
    lines,
    watts,
    ...(speed === undefined ? {} : { speed }),
    ...(joulesPerToken === undefined ? {} : { joulesPerToken }),
    ...(upoktPerDay === undefined ? {} : { upoktPerDay: String(upoktPerDay) }),
  }
}

/** Three figures, no more. */
export function number(value: number): string {
  if (value >= 100) return value.toFixed(0)
  return value.toFixed(value >= 10 ? 1 : 2)
}
