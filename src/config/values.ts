/**
 * Settings that are written as text: durations and sizes with their unit, addresses, amounts, URLs. The
 * flags of commands are read by the same rules. Tested by test/config/load.ts.
 */
import { z } from 'zod'
import { type Ms, ms, parseCoin, type Upokt, upokt } from '../base/units.ts'
import { type GasPrice, parseGasPrice } from '../chain/tx.ts'
import { parseAddress } from '../protocol/address.ts'

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const
const SIZE_UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** A timer that is longer runs out at once, whatever the system. */
const DURATION_MAX = 24 * DURATION_UNITS.h

/** @param least as it is written: nothing is asked, or waited for, more often */
export function duration(least: string) {
  const told = 'write a duration with its unit, such as 90s, 500ms or 2m'
  return z.string({ error: told }).transform((text, context): Ms => {
    const value = durationOf(text)
    if (value === undefined) context.addIssue(`${told}, not "${text}"`)
    else if (value < (durationOf(least) ?? 0) || value > DURATION_MAX)
      context.addIssue(`write ${least} to 24h, not "${text}"`)
    else return ms(value)
    return z.NEVER
  })
}

function durationOf(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * DURATION_UNITS[match[2] as keyof typeof DURATION_UNITS]
}

const SIZE = 'write a size with its unit, such as 512KiB or 20MiB'

const sizeUpTo = (gibibytes: number) =>
  z.string({ error: SIZE }).transform((text, context): number => {
    const match = /^(\d+)(B|KiB|MiB|GiB)$/.exec(text)
    const value = Number(match?.[1]) * SIZE_UNITS[match?.[2] as keyof typeof SIZE_UNITS]
    if (match === null) context.addIssue(`${SIZE}, not "${text}"`)
    else if (value < SIZE_UNITS.KiB || value > gibibytes * SIZE_UNITS.GiB)
      context.addIssue(`write 1KiB to ${gibibytes}GiB, not "${text}"`)
    else return value
    return z.NEVER
  })

/** Of a body: one request is held in memory as a whole. */
export const size = sizeUpTo(1)

/** Of a graphics card's memory. */
export const memory = sizeUpTo(1_024)

const LISTEN = 'write an address and a port, such as 0.0.0.0:8545'

export const listen = z.string({ error: LISTEN }).transform((text, context) => {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match?.[1] !== undefined && port <= 65_535)
    return { host: match[1].replace(/^\[|\]$/g, ''), port }
  context.addIssue(`${LISTEN}, not "${text}"`)
  return z.NEVER
})

export const address = z.string().transform((text, context) => {
  try {
    return parseAddress(text)
  } catch {
    context.addIssue(`not an address (pokt1…): "${text}"`)
    return z.NEVER
  }
})

const AMOUNT = 'write an amount such as 60005000000upokt or 60005POKT'

export const amount = z.string({ error: AMOUNT }).transform((text, context): Upokt => {
  const pokt = /^(\d{1,15})(?:\.(\d{1,6}))? ?POKT$/i.exec(text)
  if (pokt !== null) return upokt(`${pokt[1]}${(pokt[2] ?? '').padEnd(6, '0')}`)
  try {
    return parseCoin(text)
  } catch {
    context.addIssue(`${AMOUNT}, not "${text}"`)
    return z.NEVER
  }
})

const PRICE = 'write a price such as 0.000001upokt'

export const gasPrice = z.string({ error: PRICE }).transform((text, context): GasPrice => {
  try {
    return parseGasPrice(text)
  } catch {
    context.addIssue(`${PRICE}, not "${text}"`)
    return z.NEVER
  }
})

export const httpUrl = z.url({ protocol: /^https?$/, message: 'an http or https URL is needed' })
