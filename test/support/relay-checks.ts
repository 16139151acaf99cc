/** What every signed answer of the relay port has, and what lies on the disk of one that counts. */
import type t from 'tap'
import { equal } from '../../src/base/bytes.ts'
import {
  dehydrate,
  leafPath,
  type RelayRequest,
  type RelayResponse,
  relayHash,
} from '../../src/protocol/relay.ts'
import { leafDigest } from '../../src/smst/node.ts'
import type { Bench } from './relay-bench.ts'
import { errorOf, innerOf, isSigned } from './relay-gateway.ts'

/** Signed by the operator, for the header that came, with this inside and this beside it. */
export function checkSigned(
  test: Pick<typeof t, 'ok' | 'equal' | 'strictSame'>,
  b: Bench,
  response: RelayResponse,
  status: number,
  error: string | undefined,
): void {
  test.ok(isSigned(response), 'signed by the operator, payload hash included')
  test.strictSame(response.meta?.sessionHeader, b.header(15), 'with the header of the request')
  test.equal(innerOf(response).status, status)
  test.equal(errorOf(response), error)
}

/** What lies on the disk is this pair, to the byte, and nothing else. */
export async function minedAs(
  b: Bench,
  request: RelayRequest,
  response: RelayResponse,
): Promise<boolean> {
  const relay = dehydrate(request, response)
  const path = leafPath(relayHash(relay))
  const leaves = []
  for await (const leaf of b.store.relays.leaves(b.key(15))) leaves.push(leaf)
  const [leaf] = leaves
  const stored = await b.store.relays.relay(b.key(15), path)
  return (
    leaves.length === 1 &&
    leaf !== undefined &&
    stored !== undefined &&
    equal(leaf.path, path) &&
    equal(leaf.digest, leafDigest(path, relay, 1_000n)) &&
    equal(stored, relay)
  )
}
