/**
 * A service's card: what its owner says of the service, for clients and for those who run it.
 *
 * One JSON object of at most 256 KiB, of which the chain checks the size alone: every word in it is the
 * owner's wish, and anything may stand there. So only what has the expected form is taken, cut to a
 * length that people read and without characters that would move a terminal's cursor.
 * Source: poktroll docs/pocket_cards.md, pkg/cards/service_card.schema.json. Tested by test/chain/card.ts.
 */
import { z } from 'zod'

export interface CardType {
  /** `JSON_RPC`, `REST`, `WEBSOCKET`, `GRPC` or `COMET_BFT`. */
  readonly type: string
  /** `expected`, `optional`, `deprecated`, or whatever the owner writes; enforced by nobody. */
  readonly intent?: string | undefined
}

/** A question whose answer shows that an engine serves the service. */
export interface HealthCheck {
  readonly rpcType: string
  /** JSON-RPC: the body. REST: `path`, `method` and perhaps `body`. */
  readonly request: Readonly<Record<string, unknown>>
  readonly expect: { readonly jsonPath: string | undefined; readonly matches: string | undefined }
}

export interface ServiceCard {
  readonly description: string | undefined
  readonly rpcTypes: readonly CardType[]
  /** Names of interfaces, such as `openai-chat-completions`. */
  readonly apis: readonly string[]
  /** What to run, in the owner's words. */
  readonly backend: string | undefined
  readonly implementations: readonly string[]
  readonly minDiskGb: number | undefined
  readonly minRamGb: number | undefined
  readonly notes: string | undefined
  readonly healthChecks: readonly HealthCheck[]
}

const SCHEMA = 'pocket-service-card/v1'
const BYTES_MAX = 262_144
const TEXT_MAX = 300
const LIST_MAX = 16
const CHECKS_MAX = 8
const PATTERN_MAX = 256

/** What is of another form counts as not there: later cards may write it otherwise. */
const text = z.string().transform(shown).optional().catch(undefined)
const texts = z.array(z.unknown()).transform(strings).catch([])
const size = z.number().min(0).finite().optional().catch(undefined)
const exact = z.string().max(PATTERN_MAX).optional().catch(undefined)

const CardSchema = z.object({
  schema: z.string(),
  description: text,
  rpc_types: z.array(z.unknown()).catch([]),
  apis: texts,
  serving: z
    .object({
      backend: text,
      implementations: texts,
      min_disk_gb: size,
      min_ram_gb: size,
      notes: text,
      healthcheck: z.array(z.unknown()).catch([]),
    })
    .optional()
    .catch(undefined),
})

const TypeSchema = z.object({ type: z.string().transform(shown), intent: text })
const CheckSchema = z.object({
  rpc_type: z.string().transform(shown),
  request: z.record(z.string(), z.unknown()),
  expect: z.object({ json_path: exact, matches: exact }).optional().catch(undefined),
})

/** Undefined for bytes that are no card of this kind: what they are is the owner's affair. */
export function readCard(bytes: Uint8Array): ServiceCard | undefined {
  if (bytes.length === 0 || bytes.length > BYTES_MAX) return undefined
  const card = CardSchema.safeParse(parse(bytes)).data
  if (card?.schema !== SCHEMA) return undefined
  const { serving } = card
  return {
    description: card.description,
    rpcTypes: list(card.rpc_types, TypeSchema, LIST_MAX),
    apis: card.apis,
    backend: serving?.backend,
    implementations: serving?.implementations ?? [],
    minDiskGb: serving?.min_disk_gb,
    minRamGb: serving?.min_ram_gb,
    notes: serving?.notes,
    healthChecks: list(serving?.healthcheck ?? [], CheckSchema, CHECKS_MAX).map(
      ({ rpc_type: rpcType, request, expect }) => ({
        rpcType,
        request,
        expect: { jsonPath: expect?.json_path, matches: expect?.matches },
      }),
    ),
  }
}

/** On one line, without control characters and marks that turn the direction of writing. */
export function shown(value: string): string {
  const plain = value.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  return plain.length <= TEXT_MAX ? plain : `${plain.slice(0, TEXT_MAX)}…`
}

function strings(values: readonly unknown[]): string[] {
  return values
    .filter((value): value is string => typeof value === 'string')
    .slice(0, LIST_MAX)
    .map(shown)
}

/** Those that have the form. */
function list<T extends z.ZodType>(values: readonly unknown[], form: T, most: number) {
  return values.slice(0, most).flatMap((value) => {
    const read = form.safeParse(value)
    return read.success ? [read.data] : []
  })
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}
