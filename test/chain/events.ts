import t from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { height } from '../../src/base/units.ts'
import { readSettlements, type SettlementEvent } from '../../src/chain/events.ts'
import { Json } from '../../src/chain/json.ts'
import { Query } from '../../src/chain/query.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { ManualClock } from '../support/clock.ts'
import { RecordedNode, type Recording, recordings } from '../support/recorded-node.ts'

const RESULTS = recordings('rpc').filter(
  ({ request, response }) => request?.method === 'block_results' && response.result !== undefined,
)

const SUPPLIER1 = 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08'
const SUPPLIER3 = 'pokt12kcqku57p70rsd8qjv42z7lrcwvlhsfgjn3zuk'
const OWNER1 = 'pokt1nk6qr3rzufhztprhs05xv90reg0t4d83gj8qxu'
const APP1 = 'pokt1sglqm39pv45jpqslavw7kxd2w4tmgg56wzjk6n'
const APP2 = 'pokt1ya7fhy4zesjd9yn0agy2ztl98z0cl94q6dd7cp'

function settlements(name: string): SettlementEvent[] {
  const found = RESULTS.find((recording) => recording.name === name)
  return readSettlements(new Json(found?.response.result, 'result').get('finalize_block_events'))
}

t.test('a block in which claims settle, expire and a supplier is slashed', async (t) => {
  const events = settlements('block_results_A_80')
  t.strictSame(
    events.map(({ kind, operator, application }) => [kind, operator, application]),
    [
      ['settled', SUPPLIER1, APP2],
      ['expired', SUPPLIER3, APP1],
      ['settled', SUPPLIER1, APP1],
      ['slashed', SUPPLIER3, APP1],
    ],
    'in the order of the chain',
  )
  const dao = 'pokt1qgrp4tst0v80ar24jcfcfdqg57gvkcf449vc3d'
  const serviceOwner = 'pokt1queg7r2gkudrwdlk0zp7g2dfr6u8l2zjn04jde'
  const reason = (part: string, ending = '_REWARD_DISTRIBUTION') => `TLM_${part}${ending}`
  t.strictSame(events[2], {
    kind: 'settled',
    operator: SUPPLIER1,
    application: APP1,
    serviceId: 'text-gen',
    sessionEnd: 70,
    proofStatus: 'validated',
    relays: 5n,
    computeUnits: 20_000n,
    estimatedRelays: 5n,
    estimatedComputeUnits: 20_000n,
    claimed: 2_919n,
    sessionId: '89d50974149fd6ac885e143163f3c7e60fd5d927af1525cbb844629874291c28',
    owner: OWNER1,
    proofRequirement: 'threshold',
    settled: 2_919n,
    minted: 2_846n,
    mintRatio: '0.975',
    overservicingLoss: 0n,
    deflationLoss: 73n,
    rewards: new Map([
      [OWNER1, 2_248n],
      [dao, 131n],
      [serviceOwner, 71n],
    ]),
    rewardDetails: [
      {
        recipient: OWNER1,
        reason: reason('RELAY_BURN_EQUALS_MINT_SUPPLIER_SHAREHOLDER'),
        amount: 2_248n,
      },
      {
        recipient: serviceOwner,
        reason: reason('RELAY_BURN_EQUALS_MINT_SOURCE_OWNER'),
        amount: 71n,
      },
      { recipient: dao, reason: reason('RELAY_BURN_EQUALS_MINT_DAO'), amount: 129n },
      { recipient: dao, reason: reason('GLOBAL_MINT_DAO'), amount: 1n },
      {
        recipient: dao,
        reason: reason('GLOBAL_MINT_REIMBURSEMENT_REQUEST_ESCROW', '_DAO_TRANSFER'),
        amount: 1n,
      },
    ],
  })
  t.strictSame(events[1], {
    kind: 'expired',
    operator: SUPPLIER3,
    application: APP1,
    serviceId: 'text-gen',
    sessionEnd: 70,
    proofStatus: 'pending',
    relays: 3n,
    computeUnits: 12_000n,
    estimatedRelays: 3n,
    estimatedComputeUnits: 12_000n,
    claimed: 1_751n,
    reason: 'PROOF_MISSING',
  })
  t.strictSame(events[3], {
    kind: 'slashed',
    operator: SUPPLIER3,
    application: APP1,
    serviceId: 'text-gen',
    sessionEnd: 70,
    proofStatus: 'pending',
    penalty: 1n,
    stakeAfter: 59_999_999_999n,
  })
})

t.test('an invalid proof expires the claim as well', async (t) => {
  const [missing, invalid, ...slashes] = settlements('block_results_B_110')
  t.match(missing, { kind: 'expired', proofStatus: 'pending', reason: 'PROOF_MISSING' })
  t.match(invalid, { kind: 'expired', proofStatus: 'invalid', reason: 'PROOF_INVALID' })
  t.match(slashes, [
    { kind: 'slashed', proofStatus: 'pending', stakeAfter: 59_999_999_999n },
    { kind: 'slashed', proofStatus: 'invalid', stakeAfter: 59_999_999_998n },
  ])
})

t.test(
  'difficulty scales what is estimated, an overserviced application cuts what is settled',
  async (t) => {
    const [raised] = settlements('block_results_D_170')
    if (raised?.kind !== 'settled') throw new Error('not settled')
    t.ok(raised.estimatedRelays > raised.relays)
    t.ok(raised.estimatedComputeUnits > raised.computeUnits)
    const [cut] = settlements('block_results_overserviced_50')
    t.match(cut, {
      kind: 'settled',
      claimed: 3_386_968n,
      settled: 1_999_998n,
      minted: 1_949_998n,
      overservicingLoss: 1_386_970n,
      deflationLoss: 50_000n,
    })
    if (cut?.kind !== 'settled') throw new Error('not settled')
    const owner = 'pokt143c8x2j9wptnlhry4ygtw30ssfh8y9a3m4gu6a'
    t.equal(cut.rewards.get(owner), 1_540_499n, 'both reward reasons together')
  },
)

t.test('the parts of every recorded settlement add up', async (t) => {
  let settled = 0
  for (const { name } of RESULTS) {
    for (const event of settlements(name)) {
      if (event.kind !== 'settled') continue
      settled++
      t.equal(event.settled, event.claimed - event.overservicingLoss, name)
      t.equal(event.minted, event.settled - event.deflationLoss, name)
      const byRecipient = new Map<string, bigint>()
      for (const { recipient, amount } of event.rewardDetails)
        byRecipient.set(recipient, (byRecipient.get(recipient) ?? 0n) + amount)
      t.strictSame(
        new Map(event.rewards),
        byRecipient,
        `${name}: rewards are the sum of their parts`,
      )
    }
  }
  t.equal(settled, 5)
})

t.test('blocks without claims have no such events', async (t) => {
  const quiet = [
    'block_results_empty',
    'block_results_stake',
    'block_results_A_73',
    'block_results_A_77',
  ]
  for (const name of quiet) t.strictSame(settlements(name), [], name)
  t.strictSame(readSettlements(new Json(null, 'events')), [], 'null is an empty list')
})

t.test('a discarded claim', async (t) => {
  const attributes = {
    error: '"could not find rev share"',
    service_id: '"text-gen"',
    application_address: `"${APP1}"`,
    session_end_block_height: '"70"',
    claim_proof_status_int: '1',
    supplier_operator_address: `"${SUPPLIER1}"`,
    mode: 'EndBlock',
  }
  t.strictSame(readSettlements(event('EventClaimDiscarded', attributes)), [
    {
      kind: 'discarded',
      operator: SUPPLIER1,
      application: APP1,
      serviceId: 'text-gen',
      sessionEnd: 70,
      proofStatus: 'validated',
      error: 'could not find rev share',
    },
  ])
})

function event(type: string, attributes: Record<string, string>): Json {
  const list = Object.entries(attributes).map(([key, value]) => ({ key, value, index: true }))
  return new Json([{ type: `pocket.tokenomics.${type}`, attributes: list }], 'events')
}

t.test('a missing or mistyped attribute is named', async (t) => {
  for (const { name, response } of RESULTS) {
    const { finalize_block_events: events } = response.result as {
      finalize_block_events: { type: string; attributes: { key: string; value: string }[] }[]
    }
    for (const { type, attributes } of events ?? []) {
      if (!/Event(ClaimSettled|ClaimExpired|SupplierSlashed)$/.test(type)) continue
      const fields = Object.fromEntries(attributes.map(({ key, value }) => [key, value]))
      for (const key of Object.keys(fields)) {
        if (key === 'mode') continue
        const short = type.replace('pocket.tokenomics.', '')
        const wrong = { code: 'RESPONSE', data: { field: `events[0].${key}` } }
        const id = `${name} ${short} ${key}`
        t.throws(() => readSettlements(event(short, { ...fields, [key]: 'true' })), wrong, id)
        const { [key]: _, ...others } = fields
        t.throws(() => readSettlements(event(short, others)), wrong, `${id} absent`)
      }
      break
    }
  }
  const slashed = event('EventSupplierSlashed', { service_id: 'text-gen' })
  t.throws(() => readSettlements(slashed), { code: 'RESPONSE' }, 'unquoted text is no JSON')
})

t.test('asked of a node', async (t) => {
  const node = await RecordedNode.start()
  const clock = new ManualClock()
  const rpc = new Rpc({ clock, random: () => 0, log: silentLog() }, { endpoints: [node.url] })
  const query = new Query({ rpc, clock })
  t.teardown(async () => {
    await rpc.close()
    await node.close()
  })
  for (const recording of RESULTS) {
    node.play(recording)
    const at = height(Number(recording.request.params['height']))
    t.strictSame(await query.settlements(at), settlements(recording.name), recording.name)
  }
  const other = RESULTS.find(({ name }) => name === 'block_results_A_80') as Recording
  const request = { method: 'block_results', params: { height: '81' } }
  node.play({ ...other, request })
  await t.rejects(
    query.settlements(height(81)),
    { code: 'RESPONSE', data: { field: 'result.height' } },
    'results of another block',
  )
  const future = recordings('rpc').find(({ name }) => name === 'block_results_latest_plus_one')
  node.play(future as Recording)
  await t.rejects(query.settlements(height(255)), { code: 'HEIGHT_UNAVAILABLE', retryable: true })
})
