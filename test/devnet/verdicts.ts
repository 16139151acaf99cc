/** What the chain said of proofs that were altered in one place, and of whole sessions. */
import t from 'tap'
import { sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { coin, height, upokt } from '../../src/base/units.ts'
import { RingVerifier } from '../../src/crypto/ring.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { Archive } from '../../src/devnet/archive.ts'
import { createClaim, requirementOf } from '../../src/devnet/claims.ts'
import { Refusal } from '../../src/devnet/errors.ts'
import { devnetGenesis, writeGenesis } from '../../src/devnet/genesis.ts'
import { checkForm, checkInSession, submitProof } from '../../src/devnet/proofs.ts'
import { checkMember } from '../../src/devnet/session.ts'
import { type Context, claimKey, type State } from '../../src/devnet/state.ts'
import { judge, verdict } from '../../src/devnet/verdict.ts'
import {
  Claim,
  MsgCreateClaim,
  MsgSubmitProof,
  type Proof,
} from '../../src/protocol/gen/pocket/proof/proof.ts'
import type { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import { decodeWireProof } from '../../src/smst/gob.ts'
import { type ParamsJson, paramsOf, rows } from '../support/vectors.ts'

interface Account {
  readonly address: string
  readonly pub: string
}

interface SessionRow {
  readonly header: Record<string, string>
  readonly keys: Record<'app' | 'gateway' | 'supplier', Account>
  readonly msg_create_claim: string
  readonly msg_submit_proof: string
  readonly proof: string
  readonly proof_without_sibling_data: string
  readonly root: string
  readonly seed_block_hash: string
  readonly seed_height: string
  readonly start_block_hash: string
  readonly shared_params: ParamsJson
  readonly target: string
  readonly claimed_upokt: string
  readonly 'requirement_probability_0.01_threshold_100': string
  readonly verdict_before_window: { readonly well_formed: string }
  readonly verdict_after_window: { readonly well_formed: string }
  readonly verdict_for_a_proof_of_another_path: { readonly signatures_and_path: string }
}

interface VerdictRow {
  readonly accepted: boolean
  readonly in_transaction: string
  readonly end_of_block?: string
  readonly proof: string
  readonly root: string
}

const curve = loadCurve()
const verifiers = { curve, rings: new RingVerifier({ curve }) }
const sessions = rows<SessionRow>('proof.jsonl', 'session')
const [example] = sessions
if (example === undefined) throw new RangeError('no sessions')
const { app, gateway, supplier } = example.keys
const [people] = rows<{ keys: Record<'gateway2', Account> }>('relay.jsonl', 'keys')
const SECOND_GATEWAY = people?.keys.gateway2 ?? gateway
const [START, END] = [883_681n, 883_700n]

function stateOf(row: { shared_params: ParamsJson }): State {
  const state = new Archive(10).stateAt(0)
  const account = ({ address, pub }: Account) => ({
    address,
    balance: upokt(1_000_000n),
    publicKey: unhex(pub),
  })
  const defaults = paramsOf(row.shared_params)
  writeGenesis(
    state,
    devnetGenesis({
      accounts: [app, gateway, supplier].map(account),
      services: [{ id: 'svc1', computeUnitsPerRelay: 100n }],
      gateways: [{ address: gateway.address }],
      applications: [{ address: app.address, serviceId: 'svc1', gateways: [gateway.address] }],
      suppliers: [{ operator: supplier.address, services: ['svc1'], url: 'http://127.0.0.1:1' }],
      params: {
        shared: {
          ...defaults,
          supplierUnbondingPeriodSessions: 10n,
          applicationUnbondingPeriodSessions: 10n,
          gatewayUnbondingPeriodSessions: 10n,
        },
      },
    }),
  )
  return state
}

function contextOf(state: State, at: number): Context {
  return { state, height: height(at), time: 0n, events: [] }
}

function refusal(work: () => void): string {
  try {
    work()
    return ''
  } catch (error) {
    if (error instanceof Refusal) return error.message
    throw error
  }
}

t.test('whole sessions pass, in their windows only', async (t) => {
  for (const row of sessions) {
    const state = stateOf(row)
    state.blockHashes.set(String(START), unhex(row.start_block_hash))
    state.blockHashes.set(row.seed_height, unhex(row.seed_block_hash))
    const target = unhex(row.target)
    state.difficultyHistory.set('svc1', [
      {
        height: 1,
        value: { serviceId: 'svc1', blockHeight: 1n, numRelaysEma: 1n, targetHash: target },
      },
    ])
    const at = (h: number) => contextOf(state, h)
    createClaim(at(883_712), MsgCreateClaim.decode(unhex(row.msg_create_claim)))
    const key = claimKey(row.header['session_id'] ?? '', supplier.address)
    const claim = state.claims.get(key)
    if (claim === undefined) throw new RangeError(`${row.id}: no claim`)
    const requirement = row['requirement_probability_0.01_threshold_100']
    t.equal(requirementOf(state, claim).toUpperCase().replace('-', '_'), requirement, row.id)
    const message = MsgSubmitProof.decode(unhex(row.msg_submit_proof))
    const proof = { ...message, closestMerkleProof: message.proof }
    t.equal(
      refusal(() => checkForm(at(883_722), proof)),
      row.verdict_before_window.well_formed,
      row.id,
    )
    for (const h of [883_723, 883_733])
      t.equal(
        refusal(() => checkForm(at(h), proof)),
        '',
        `${row.id} at ${h}`,
      )
    t.equal(
      refusal(() => checkForm(at(883_734), proof)),
      row.verdict_after_window.well_formed,
      row.id,
    )
    t.equal(verdict(at(883_733), claim, proof, verifiers), undefined, row.id)
    const bare = { ...proof, closestMerkleProof: unhex(row.proof_without_sibling_data) }
    t.equal(verdict(at(883_733), claim, bare, verifiers), undefined, `${row.id} without sibling`)
    state.blockHashes.set(row.seed_height, sha256(utf8('another block')))
    t.match(
      verdict(at(883_733), claim, proof, verifiers),
      /^the path of the proof provided/,
      row.id,
    )
  }
})

t.test('a proof is asked for by the threshold, and taken', async (t) => {
  const row = sessions.at(-1) ?? example
  const state = stateOf(row)
  state.blockHashes.set(String(START), unhex(row.start_block_hash))
  state.blockHashes.set(row.seed_height, unhex(row.seed_block_hash))
  const params = state.params.get('')
  if (params !== undefined)
    state.params.set('', {
      ...params,
      proof: { ...params.proof, proofRequirementThreshold: coin(upokt(1n)) },
    })
  createClaim(contextOf(state, 883_712), MsgCreateClaim.decode(unhex(row.msg_create_claim)))
  const message = MsgSubmitProof.decode(unhex(row.msg_submit_proof))
  submitProof(contextOf(state, 883_723), message)
  t.equal(state.balances.get(supplier.address), 999_999n, 'the fee is taken')
  t.equal([...state.proofs.entries()].length, 1)
})

const verdicts = rows<VerdictRow>('proof.jsonl', 'chain-verdict')
const SESSION_ID = '55f3cea21da5891df32a73ee57bd013c3ba3d233bb955885fef09e74b7a088eb'
const HEADER: SessionHeader = {
  applicationAddress: app.address,
  serviceId: 'svc1',
  sessionId: SESSION_ID,
  sessionStartBlockHeight: START,
  sessionEndBlockHeight: END,
}

interface Case {
  readonly state: State
  readonly proof: Proof
  claim: Claim | undefined
  operators: string[]
  path: Uint8Array
}

/** How the chain or the message was otherwise in a row; the others are altered in the proof itself. */
const CHANGES: Record<string, (one: Case) => void> = {
  'ring [app, placeholder], no delegation': ({ state }) => delegated(state, [], []),
  'gateway undelegated in this very session': ({ state }) => delegated(state, [], [END]),
  'gateway undelegated in the session before': ({ state }) => delegated(state, [], [START - 1n]),
  'gateway delegated only afterwards': ({ state }) => {
    const publicKey = unhex(SECOND_GATEWAY.pub)
    state.accounts.set(SECOND_GATEWAY.address, { number: 99n, sequence: 0n, publicKey })
    delegated(state, [gateway.address, SECOND_GATEWAY.address], [])
  },
  'gateway account without a key': ({ state }) => withoutKey(state, gateway.address),
  'supplier account without a key': ({ state }) => withoutKey(state, supplier.address),
  'supplier not in the session': (one) => {
    one.operators = []
  },
  'message header: other session id': ({ proof }) => {
    proof.sessionHeader = { ...HEADER, sessionId: 'ab' }
  },
  'message header: other end height': (one) => {
    one.path = sha256(utf8('another path'))
  },
  'no claim': (one) => {
    one.claim = undefined
  },
  'claim with another end height': (one) => {
    if (one.claim) one.claim.sessionHeader = { ...HEADER, sessionEndBlockHeight: END + 1n }
  },
  'claim with another start height': (one) => {
    if (one.claim) one.claim.sessionHeader = { ...HEADER, sessionStartBlockHeight: START + 1n }
  },
  'claim with another root': (one) => {
    if (one.claim) one.claim.rootHash = unhex(verdicts[0]?.root ?? '')
  },
  'relay hash not under the target': ({ state }) => withTarget(state, `${'0'.repeat(63)}1`),
  'target of 31 bytes': ({ state }) => withTarget(state, 'f'.repeat(62)),
}

function delegated(state: State, gateways: string[], left: bigint[]): void {
  const known = state.applications.get(app.address)
  if (known === undefined) throw new RangeError('no application')
  const pending = left.map((end): [bigint, { gatewayAddresses: string[] }] => [
    end,
    { gatewayAddresses: [gateway.address] },
  ])
  state.applications.set(app.address, {
    ...known,
    delegateeGatewayAddresses: gateways,
    pendingUndelegations: new Map(pending),
  })
}

function withoutKey(state: State, address: string): void {
  state.accounts.set(address, { number: 0n, sequence: 0n })
}

function withTarget(state: State, target: string): void {
  const value = {
    serviceId: 'svc1',
    blockHeight: 1n,
    numRelaysEma: 1n,
    targetHash: unhex(target),
  }
  state.difficultyHistory.set('svc1', [{ height: 1, value }])
}

function caseOf(row: VerdictRow & { note?: string }, path: Uint8Array): Case {
  const one: Case = {
    state: stateOf(example as SessionRow),
    proof: {
      supplierOperatorAddress: supplier.address,
      sessionHeader: HEADER,
      closestMerkleProof: unhex(row.proof),
    },
    claim: Claim.fromPartial({
      supplierOperatorAddress: supplier.address,
      sessionHeader: HEADER,
      rootHash: unhex(row.root),
    }),
    operators: [supplier.address],
    path,
  }
  CHANGES[row.note ?? '']?.(one)
  if (one.claim !== undefined)
    one.state.claims.set(claimKey(SESSION_ID, supplier.address), one.claim)
  return one
}

/** The words of Go's decoders, which are not ours. */
const DECODER_WORDS = new Set(['leaf that is no protobuf message', 'proof: not gob'])

t.test('altered relays and proofs: taken or refused where the chain does', async (t) => {
  const [first] = verdicts
  const path = decodeWireProof(unhex(first?.proof ?? '')).path
  for (const row of verdicts) {
    const one = caseOf(row, path)
    const session = {
      header: HEADER,
      sessionId: SESSION_ID,
      sessionNumber: 1n,
      numBlocksPerSession: 20n,
      application: undefined,
      suppliers: one.operators.map((operatorAddress) => ({
        operatorAddress,
        ownerAddress: operatorAddress,
        stake: undefined,
        services: [],
        unstakeSessionEndHeight: 0n,
        serviceConfigHistory: [],
      })),
    }
    const context = contextOf(one.state, 883_723)
    const inTransaction = refusal(() => {
      checkMember(session, one.proof.sessionHeader?.sessionId ?? '', supplier.address)
      checkInSession(context, one.proof, HEADER)
    })
    const id = `${row.id} ${row.note}`
    if (DECODER_WORDS.has(row.note ?? '')) t.not(inTransaction, '', id)
    else t.equal(inTransaction, row.in_transaction, `${id}: in the transaction`)
    if (inTransaction !== '' || one.claim === undefined) continue
    const { state, claim, proof } = one
    const atTheEnd = refusal(() => judge(state, claim, proof, one.path, verifiers))
    t.equal(atTheEnd === '', row.accepted, `${id}: at the end (${atTheEnd})`)
  }
})
