/**
 * supplier.yaml as one schema: default, meaning and check of a setting stand in one place.
 *
 * Unknown keys are errors, since a typo must not mean "default". Durations and sizes carry their unit
 * in the text. supplier.example.yaml is compared with this by test/config/example.ts.
 */
import { z } from 'zod'
import { LOG_LEVELS } from '../base/log.ts'
import { type Ms, ms, parseCoin, type Upokt } from '../base/units.ts'
import { type GasPrice, parseGasPrice } from '../chain/tx.ts'
import { parseAddress } from '../protocol/address.ts'
import { validServiceId } from '../protocol/session.ts'

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const
const SIZE_UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** A timer that is longer runs out at once, whatever the system. */
const DURATION_MAX = 24 * DURATION_UNITS.h

/** @param least as it is written: nothing is asked, or waited for, more often */
function duration(least: string) {
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
/** One request is held in memory as a whole. */
const SIZE_MAX = SIZE_UNITS.GiB

const size = z.string({ error: SIZE }).transform((text, context): number => {
  const match = /^(\d+)(B|KiB|MiB|GiB)$/.exec(text)
  const value = Number(match?.[1]) * SIZE_UNITS[match?.[2] as keyof typeof SIZE_UNITS]
  if (match === null) context.addIssue(`${SIZE}, not "${text}"`)
  else if (value < SIZE_UNITS.KiB || value > SIZE_MAX)
    context.addIssue(`write 1KiB to 1GiB, not "${text}"`)
  else return value
  return z.NEVER
})

const LISTEN = 'write an address and a port, such as 0.0.0.0:8545'

const listen = z.string({ error: LISTEN }).transform((text, context) => {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match?.[1] !== undefined && port <= 65_535)
    return { host: match[1].replace(/^\[|\]$/g, ''), port }
  context.addIssue(`${LISTEN}, not "${text}"`)
  return z.NEVER
})

const address = z.string().transform((text, context) => {
  try {
    return parseAddress(text)
  } catch {
    context.addIssue(`not an address (pokt1…): "${text}"`)
    return z.NEVER
  }
})

const AMOUNT = 'write an amount such as 60005000000upokt'

const amount = z.string({ error: AMOUNT }).transform((text, context): Upokt => {
  try {
    return parseCoin(text)
  } catch {
    context.addIssue(`${AMOUNT}, not "${text}"`)
    return z.NEVER
  }
})

const PRICE = 'write a price such as 0.000001upokt'

const gasPrice = z.string({ error: PRICE }).transform((text, context): GasPrice => {
  try {
    return parseGasPrice(text)
  } catch {
    context.addIssue(`${PRICE}, not "${text}"`)
    return z.NEVER
  }
})

const httpUrl = z.url({ protocol: /^https?$/, message: 'an http or https URL is needed' })

const llamacpp = z.strictObject({
  kind: z.literal('llamacpp'),
  model: z
    .string()
    .min(1)
    .describe(
      'A GGUF file; relative paths start at the configuration file. `tiny` is the model that comes along.',
    ),
  slots: z.int().min(1).max(64).default(4).describe('Requests that run at the same time.'),
  contextSize: z
    .int()
    .min(64)
    .max(1_048_576)
    .default(4096)
    .describe('Tokens for prompt and answer of one request.'),
  gpu: z
    .enum(['auto', 'cuda', 'vulkan', 'metal', 'off'])
    .default('auto')
    .describe('The kind of graphics card to use.'),
  maxThreads: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('CPU threads; by default one less than there are cores.'),
})

const upstream = z.strictObject({
  kind: z.literal('upstream'),
  url: httpUrl.describe(
    'Base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.',
  ),
  model: z.string().min(1).describe('The model name that server knows.'),
  slots: z
    .int()
    .min(1)
    .max(1024)
    .default(8)
    .describe('Requests that it is given at the same time.'),
  contextSize: z
    .int()
    .min(64)
    .max(10_000_000)
    .default(32_768)
    .describe('Tokens for prompt and answer of one request there.'),
  apiKeyFile: z
    .string()
    .min(1)
    .optional()
    .describe('A file with the bearer token, readable only by you.'),
})

const service = z.strictObject({
  id: z
    .string()
    .refine(validServiceId, 'a service id has 1 to 42 letters, digits, - or _')
    .describe('The service that is staked for.'),
  modelName: z
    .string()
    .min(1)
    .optional()
    .describe('The model name shown in answers; by default that of the file.'),
  backend: z.discriminatedUnion('kind', [llamacpp, upstream]).describe('What runs the model.'),
  queueMax: z
    .int()
    .min(0)
    .max(10_000)
    .default(32)
    .describe('Requests that may wait for a slot; more are answered 429.'),
})

export const ConfigSchema = z.strictObject({
  dataDir: z
    .string()
    .min(1)
    .default('~/.pokt-supplier')
    .describe('Where the database, the engines and the status token live.'),
  chain: z.strictObject({
    rpc: z
      .array(httpUrl)
      .min(1)
      .describe('CometBFT RPC endpoints of a node, the preferred one first.'),
    id: z.string().min(1).default('pocket').describe('The chain must call itself so.'),
    gasPrice: gasPrice.prefault('0.000001upokt').describe('What one unit of gas costs.'),
    pollEvery: duration('100ms')
      .prefault('3s')
      .describe('How often the node is asked for its height beside the subscription.'),
    timeout: duration('100ms').prefault('10s').describe('For one question to a node.'),
  }),
  operators: z
    .array(
      z.strictObject({
        keyFile: z
          .string()
          .min(1)
          .describe('An encrypted key file, as `pokt-supplier keys create` makes it.'),
        passphraseFile: z
          .string()
          .min(1)
          .optional()
          .describe(
            'Else $CREDENTIALS_DIRECTORY/passphrase, POKT_SUPPLIER_PASSPHRASE, or a prompt.',
          ),
      }),
    )
    .min(1)
    .describe('Who signs relays, claims and proofs.'),
  relay: z
    .strictObject({
      listen: listen.prefault('0.0.0.0:8545').describe('Where gateways reach this supplier.'),
      requestTimeout: duration('1s')
        .prefault('60s')
        .describe("From a request's last byte to its answer."),
      bodyMax: size.prefault('20MiB').describe('Larger requests are refused unread.'),
      minedRequestMax: size
        .prefault('512KiB')
        .describe(
          'Larger requests are answered 413: a proof publishes the sampled one on the chain.',
        ),
      drain: duration('0s')
        .prefault('30s')
        .describe('How long running relays may go on at a stop.'),
    })
    .prefault({}),
  services: z.array(service).min(1).describe('What is served, one entry for each staked service.'),
  stake: z
    .strictObject({
      amount: amount.describe('The new total stake, such as 60005000000upokt.'),
      owner: address
        .optional()
        .describe('Who gets stake and rewards; by default the first operator.'),
      url: httpUrl.describe('The public URL of the relay port.'),
      revShare: z
        .array(z.strictObject({ address, percent: z.int().min(1).max(100) }))
        .optional()
        .describe('Who shares the rewards; by default all to the owner. Must add up to 100.'),
    })
    .optional()
    .describe('What `pokt-supplier stake` stakes.'),
  admin: z
    .strictObject({
      listen: listen
        .prefault('127.0.0.1:8546')
        .describe('Health and status, for this machine only.'),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(LOG_LEVELS)
        .default('info')
        .describe('error, warn, info, debug, trace or silent.'),
    })
    .prefault({}),
})

export type Config = z.output<typeof ConfigSchema>
export type ServiceConfig = Config['services'][number]
