/**
 * Good relays with something changed in them, at every level, by chance and in the same way in every
 * run: what is not served is refused in a reply that can be read, and what is served is what was signed.
 */
import fc from 'fast-check'
import t from 'tap'
import { concat, equal, hex } from '../../src/base/bytes.ts'
import { decodeHttpRequest, encodeHttpRequest } from '../../src/protocol/http.ts'
import {
  decodeRelay,
  decodeRelayRequest,
  encodeRelayRequest,
  type RelayRequest,
} from '../../src/protocol/relay.ts'
import { asking, fair, type Stage, stage, untouched, withPayload } from '../support/hostile.ts'
import { block, varint } from '../support/hostile-wire.ts'
import { errorOf, isRefusal, isSigned, withSignature } from '../support/relay-gateway.ts'

const SETTINGS = { seed: 20_261_129, numRuns: 200 }
/** More than are served where few are, and where nearly all. */
const [FEW, ALL] = [100, 150]

/** One change to bytes. `at` and `size` are parts of the whole. */
type Change =
  | { readonly kind: 'flip' | 'set' | 'insert' | 'remove' | 'repeat'; at: number; value: number }
  | { readonly kind: 'cut'; at: number }

const part = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('flip', 'set', 'insert', 'remove', 'repeat'),
    at: part,
    value: fc.integer({ min: 0, max: 255 }),
  }),
  fc.record({ kind: fc.constant('cut' as const), at: part }),
)

function changed(bytes: Uint8Array, one: Change): Uint8Array {
  const at = Math.floor(one.at * bytes.length)
  const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)]
  switch (one.kind) {
    case 'cut':
      return before
    case 'flip':
      return concat(
        before,
        Uint8Array.of((behind[0] ?? 0) ^ (1 << (one.value & 7))),
        behind.subarray(1),
      )
    case 'set':
      return concat(before, Uint8Array.of(one.value), behind.subarray(1))
    case 'insert':
      return concat(before, Uint8Array.of(one.value), behind)
    case 'remove':
      return concat(before, behind.subarray(1 + (one.value & 7)))
    case 'repeat':
      return concat(before, behind.subarray(0, one.value), behind)
  }
}

const all = (bytes: Uint8Array, changes: readonly Change[]) => changes.reduce(changed, bytes)

type Meta = NonNullable<RelayRequest['meta']>
type Header = NonNullable<Meta['sessionHeader']>

/** The parts of two good relays mixed. @param mask which come from the second */
function mixed(a: RelayRequest, b: RelayRequest, mask: number): RelayRequest {
  const pick = <T>(bit: number, x: T, y: T) => ((mask >> bit) & 1 ? y : x)
  const [ma, mb] = [a.meta, b.meta]
  const [ha, hb] = [ma?.sessionHeader, mb?.sessionHeader]
  if (ma === undefined || mb === undefined || ha === undefined || hb === undefined) return a
  const sessionHeader: Header = {
    applicationAddress: pick(0, ha.applicationAddress, hb.serviceId),
    serviceId: pick(1, ha.serviceId, hb.sessionId.slice(0, 40)),
    sessionId: pick(2, ha.sessionId, hb.applicationAddress),
    sessionStartBlockHeight: pick(3, ha.sessionStartBlockHeight, hb.sessionEndBlockHeight),
    sessionEndBlockHeight: pick(4, ha.sessionEndBlockHeight, hb.sessionStartBlockHeight),
  }
  return {
    meta: {
      sessionHeader,
      signature: pick(5, ma.signature, mb.signature),
      supplierOperatorAddress: pick(6, ma.supplierOperatorAddress, hb.applicationAddress),
    },
    payload: pick(7, a.payload, b.payload),
  }
}

/** Whether the bytes are still the request, as a decoder sees it. */
function isStill(bytes: Uint8Array, request: RelayRequest): boolean {
  try {
    return equal(encodeRelayRequest(decodeRelayRequest(bytes)), encodeRelayRequest(request))
  } catch {
    return false
  }
}

/** Sends bytes that were made of requests: served if they still are one, refused if not. */
async function judged(s: Stage, bytes: Uint8Array, ...requests: RelayRequest[]): Promise<boolean> {
  const before = await s.counts()
  const response = await s.post(bytes)
  const after = await s.counts()
  const isServed = requests.some((request) => isStill(bytes, request))
  const counted = after.served - before.served
  const asked = after.asked - before.asked
  if (isServed) return isSigned(response) && errorOf(response) === undefined && counted === 1
  return isRefusal(response) && counted === 0 && after.chats === before.chats && asked <= 2
}

async function minedOf(s: Stage): Promise<string[]> {
  return (await s.bench.mined()).map((bytes) => {
    const { req } = decodeRelay(bytes)
    return req === undefined ? 'no request' : hex(encodeRelayRequest(req))
  })
}

t.test('bytes of a relay that were changed', async (t) => {
  const s = await stage(t, { relaysMax: FEW })
  const sent = new Set(await minedOf(s))
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const request = asking(s.bench)
      sent.add(hex(encodeRelayRequest(request)))
      return await judged(s, all(encodeRelayRequest(request), changes), request)
    }),
    SETTINGS,
  )
  t.ok(
    (await minedOf(s)).every((request) => sent.has(request)),
    'only what was signed was mined',
  )
  await fair(t, s, 'in the end')
  await untouched(t, s, FEW)
})

t.test('a signature that was changed', async (t) => {
  const s = await stage(t, { relaysMax: FEW })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
      const request = asking(s.bench)
      const signature = all(request.meta?.signature ?? new Uint8Array(0), changes)
      const bytes = encodeRelayRequest(withSignature(request, signature))
      return await judged(s, bytes, request)
    }),
    SETTINGS,
  )
  await fair(t, s, 'in the end')
})

t.test('fields of two relays that were exchanged', async (t) => {
  const s = await stage(t, { relaysMax: FEW })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 255 }), async (mask) => {
      const request = asking(s.bench)
      const other = asking(s.bench, { method: 'PUT' })
      return await judged(s, encodeRelayRequest(mixed(request, other, mask)), request, other)
    }),
    SETTINGS,
  )
  await fair(t, s, 'in the end')
})

t.test('fields that nobody knows, between those of a relay, change nothing', async (t) => {
  const s = await stage(t, { relaysMax: FEW })
  const unknown = fc.record({
    field: fc.integer({ min: 4, max: 2 ** 20 }),
    bytes: fc.uint8Array({ maxLength: 20 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(unknown, { maxLength: 5 }), fc.boolean(), async (fields, isFirst) => {
      const request = asking(s.bench)
      const more = fields.map(({ field, bytes }) => block(field, bytes))
      const parts = [...more, varint(8 * 7), varint(1), encodeRelayRequest(request)]
      return await judged(s, concat(...(isFirst ? parts : parts.reverse())), request)
    }),
    { ...SETTINGS, numRuns: 50 },
  )
  await fair(t, s, 'in the end')
})

t.test('what is inside a relay, changed and signed again', async (t) => {
  const s = await stage(t, { relaysMax: ALL })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const before = await s.counts()
      const inside = decodeHttpRequest(asking(s.bench).payload)
      const request = withPayload(s.bench, all(encodeHttpRequest(inside), changes))
      const response = await s.post(request)
      const after = await s.counts()
      // A chat that is still one is served; whatever else it is, it is answered, and counts as one.
      return (
        isSigned(response) && after.served - before.served === 1 && after.chats - before.chats <= 1
      )
    }),
    { ...SETTINGS, numRuns: 100 },
  )
  await fair(t, s, 'in the end')
  await untouched(t, s, ALL)
})
