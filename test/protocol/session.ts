import fc from 'fast-check'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import { Params } from '../../src/protocol/gen/pocket/shared/shared.ts'
import {
  firstDifference,
  gridAt,
  sameHeader,
  selectSuppliers,
  sessionId,
  sessionPreimage,
  supplierWeight,
  validateHeader,
  validServiceId,
} from '../../src/protocol/session.ts'
import { json, rows } from '../support/vectors.ts'

interface IdRow {
  block_hash: string
  service_id: string
  application_address: string
  height: string
  num_blocks_per_session: string
  session_grid_anchor_height: string
  session_number_at_anchor: string
  session_start: string
  preimage: string
  session_id: string
}

const isHeight = (text: string) => Number.isSafeInteger(Number(text)) && Number(text) >= 1

t.test('every session id of the Go implementation', async (t) => {
  const all = rows<IdRow>('session.jsonl', 'session-id')
  t.equal(all.length, 136)
  let reached = 0
  for (const row of all) {
    if (!isHeight(row.session_start)) {
      t.throws(() => height(BigInt(row.session_start)), `${row.id} has no height of ours`)
      continue
    }
    reached++
    const start = height(BigInt(row.session_start))
    const preimage = sessionPreimage({
      blockHash: unhex(row.block_hash),
      serviceId: row.service_id,
      applicationAddress: row.application_address,
      start,
    })
    t.equal(hex(preimage), row.preimage, row.id)
    t.equal(sessionId(preimage), row.session_id, row.id)
    if (!isHeight(row.height)) continue
    const params = Params.fromPartial({
      numBlocksPerSession: BigInt(row.num_blocks_per_session),
      sessionGridAnchorHeight: BigInt(row.session_grid_anchor_height),
      sessionNumberAtAnchor: BigInt(row.session_number_at_anchor),
    })
    t.equal(gridAt(height(BigInt(row.height)), params).start, start, `${row.id} start`)
  }
  t.ok(reached > 100, `${reached} rows have heights that a number holds`)
})

t.test('the documented ids and weights', async (t) => {
  const { sessions, weights } = json<{
    sessions: [string, number, string, string, string][]
    weights: Record<string, string>
  }>('documented.json')
  for (const [blockHash, start, serviceId, applicationAddress, id] of sessions) {
    const preimage = sessionPreimage({
      blockHash: unhex(blockHash),
      serviceId,
      applicationAddress,
      start: height(start),
    })
    t.equal(sessionId(preimage), id)
    if (start !== 9) continue
    for (const [operator, weight] of Object.entries(weights))
      t.equal(supplierWeight(preimage, operator), BigInt(weight), operator)
  }
})

t.test('who serves', async (t) => {
  const all = rows<{
    session_id_preimage: string
    candidates: { operator_address: string; weight: string }[]
    order: string[]
  }>('session.jsonl', 'supplier-selection')
  for (const row of all) {
    const preimage = unhex(row.session_id_preimage)
    const operators = row.candidates.map((candidate) => candidate.operator_address)
    for (const { operator_address, weight } of row.candidates)
      t.equal(supplierWeight(preimage, operator_address), BigInt(weight), row.id)
    t.strictSame(selectSuppliers(preimage, operators, operators.length), row.order, row.id)
    const few = Math.ceil(operators.length / 3)
    const reversed = operators.slice().reverse()
    t.strictSame(selectSuppliers(preimage, reversed, few), row.order.slice(0, few), `${row.id} few`)
    t.strictSame(
      selectSuppliers(preimage, reversed, operators.length + 1),
      reversed,
      `${row.id} all`,
    )
  }
})

t.test('headers as the chain judges them', async (t) => {
  const all = rows<{
    header: Record<
      | 'application_address'
      | 'service_id'
      | 'session_id'
      | 'session_start_block_height'
      | 'session_end_block_height',
      string
    >
    bytes: string
    valid: boolean
    error?: string
  }>('session.jsonl', 'header-validate')
  t.equal(all.length, 48)
  for (const row of all) {
    const what = `${row.id} ${row.note}`
    const header: SessionHeader = {
      applicationAddress: row.header.application_address,
      serviceId: row.header.service_id,
      sessionId: row.header.session_id,
      sessionStartBlockHeight: BigInt(row.header.session_start_block_height),
      sessionEndBlockHeight: BigInt(row.header.session_end_block_height),
    }
    t.equal(hex(SessionHeader.encode(header).finish()), row.bytes, `${what} bytes`)
    if (row.valid) {
      t.doesNotThrow(() => validateHeader(header), what)
      continue
    }
    t.throws(() => validateHeader(header), { code: 'HEADER' }, what)
    // The reason inside the brackets is the bech32 library's and differs.
    const plain = (message: string) => message.replace(/\(.*\)/s, '()')
    try {
      validateHeader(header)
    } catch (error) {
      t.equal(plain((error as Error).message), plain(row.error ?? ''), `${what} text`)
    }
  }
  t.throws(() => validateHeader(undefined), { code: 'HEADER', message: 'missing session header' })
})

t.test('service ids', async (t) => {
  for (const id of ['a', '-_-', 'Llama-3_1', 'x'.repeat(42)]) t.ok(validServiceId(id), id)
  for (const id of ['', 'x'.repeat(43), 'a.b', 'a b', 'a\n', '\na', 'é'])
    t.notOk(validServiceId(id), JSON.stringify(id))
})

t.test('headers are compared in all five fields', async (t) => {
  const header: SessionHeader = {
    applicationAddress: 'pokt1a',
    serviceId: 'svc',
    sessionId: 'id',
    sessionStartBlockHeight: 1n,
    sessionEndBlockHeight: 10n,
  }
  t.ok(sameHeader(header, { ...header }))
  t.equal(firstDifference(header, { ...header }), undefined)
  const differences: [Partial<SessionHeader>, string][] = [
    [{ applicationAddress: 'POKT1A' }, 'application_address'],
    [{ serviceId: 'svc2' }, 'service_id'],
    [{ sessionId: 'ID' }, 'session_id'],
    [{ sessionStartBlockHeight: 2n }, 'session_start_block_height'],
    [{ sessionEndBlockHeight: 11n }, 'session_end_block_height'],
    [{ sessionId: 'x', sessionEndBlockHeight: 11n }, 'session_id'],
  ]
  for (const [change, field] of differences) {
    t.notOk(sameHeader(header, { ...header, ...change }), field)
    t.equal(firstDifference(header, { ...header, ...change }), field)
  }
})

t.test('the grid covers every height once', async (t) => {
  const at = fc.integer({ min: 1, max: 2_000_000 })
  const params = fc.record({
    numBlocksPerSession: fc.bigInt({ min: 1n, max: 100n }),
    sessionGridAnchorHeight: fc.bigInt({ min: 0n, max: 1_000_000n }),
    sessionNumberAtAnchor: fc.bigInt({ min: 0n, max: 10_000n }),
  })
  fc.assert(
    fc.property(at, params, (at, partial) => {
      const params = Params.fromPartial(partial)
      const grid = gridAt(height(at), params)
      t.ok(grid.start <= at && at <= grid.end)
      t.equal(grid.end - grid.start + 1, Number(params.numBlocksPerSession))
      t.strictSame(gridAt(grid.start, params).start, grid.start)
      if (BigInt(grid.end) + 1n === params.sessionGridAnchorHeight) return
      const crossesAnchor =
        at < params.sessionGridAnchorHeight && grid.end >= params.sessionGridAnchorHeight
      if (crossesAnchor) return
      const next = gridAt(height(grid.end + 1), params)
      t.strictSame([next.start, next.number], [grid.end + 1, grid.number + 1])
    }),
  )
})

t.test('parameters that make no sense are refused', async (t) => {
  t.throws(() => gridAt(height(5), Params.fromPartial({})), { code: 'PARAMS' })
  const long = Params.fromPartial({ numBlocksPerSession: 2n ** 63n })
  t.throws(() => gridAt(height(5), long), { code: 'PARAMS' })
  const odd = {
    numBlocksPerSession: 4n,
    sessionGridAnchorHeight: 5n,
    sessionNumberAtAnchor: 2n ** 63n,
  }
  t.throws(() => gridAt(height(5), Params.fromPartial(odd)), { code: 'PARAMS' })
  t.throws(
    () => gridAt(height(Number.MAX_SAFE_INTEGER), Params.fromPartial({ numBlocksPerSession: 10n })),
    { code: 'PARAMS' },
  )
})
