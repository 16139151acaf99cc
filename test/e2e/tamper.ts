/**
 * Whatever is altered is refused by whom it would harm: a request by the supplier, a response by the
 * gateway, a claim or a proof by the chain. What is refused is neither served nor mined.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { request as post } from 'undici'
import { hex, readU64, utf8 } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { createClaimMessage, submitProofMessage } from '../../src/chain/stake.ts'
import { claimKey } from '../../src/devnet/state.ts'
import { MsgCreateClaim, MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import type { Session } from '../../src/protocol/gen/pocket/session/session.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  encodeRelayResponse,
  type RelayRequest,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { proofPath } from '../../src/protocol/rewards.ts'
import { foldClosest, foldRoot, type Leaf } from '../../src/smst/fold.ts'
import { decodeProof, encodeProof } from '../../src/smst/gob.ts'
import { compactProof } from '../../src/smst/proof.ts'
import type { SessionKey } from '../../src/store/sessions.ts'
import { chatRequest, field, Network } from '../support/network.ts'
import {
  FALSE_HEADERS,
  FALSE_REQUESTS,
  FALSE_RESPONSES,
  flipped,
  INVALID_PROOFS,
  MALFORMED_PROOFS,
} from '../support/tampered.ts'
import { submit } from '../support/transactions.ts'

function headerOf({ header }: Session): SessionHeader {
  if (header === undefined) throw new RangeError('a session without a header')
  return header
}

t.test('a request that is not rightly signed for its session is refused unsigned', async (t) => {
  // Served until 5, sealed and claimed from 7 on: at 6 it is the grace period alone that refuses.
  const network = await Network.open(t, { params: { shared: { claimWindowOpenOffsetBlocks: 2n } } })
  await network.start()
  let [served, refused] = [0, 0]
  const answered = async (request: RelayRequest, name: string) => {
    const relayed = await network.send(request)
    t.equal(relayed.verified && relayed.inner?.status, 200, `${name}: ${relayed.fault}`)
    t.equal(relayed.error, undefined, name)
    t.equal(network.upstream.chats, ++served, `${name} is served`)
  }
  const rejected = async (
    request: RelayRequest,
    { name, codespace, code }: { name: string; codespace: string; code: number },
  ) => {
    const { verified, response } = await network.send(request)
    t.equal(verified, false, name)
    t.equal(response.meta?.supplierOperatorSignature.length, 0, `${name}: the reply is unsigned`)
    t.match(response.relayMinerError, { codespace, code }, name)
    t.equal(network.upstream.chats, served, `${name} is not served`)
    refused++
  }
  const authenticator = { codespace: 'relay_authenticator' }
  const session = await network.session()
  const early = await network.sign(chatRequest('early'))
  const late = await network.sign(chatRequest('late'))
  await answered(early, 'a good one')
  for (const row of FALSE_HEADERS) {
    const header = { ...headerOf(session), ...row.change }
    await rejected(await network.sign(chatRequest(row.name), { ...session, header }), row)
  }
  for (const row of FALSE_REQUESTS) {
    const request = await network.sign(chatRequest(row.name))
    await rejected(row.alter(request, network.application.signer.publicKey), row)
    await answered(request, `unaltered: ${row.name}`)
  }
  await rejected(early, { ...authenticator, code: 4, name: 'a copy of an answered one' })
  const twice = await network.sign(chatRequest('twice'))
  const both = await Promise.all([network.send(twice), network.send(twice)])
  const codes = both.map(({ verified, error }) => (verified ? 'answered' : error?.code))
  t.strictSame(codes.sort(), [4, 'answered'], 'of two copies at once one is answered')
  t.equal(network.upstream.chats, ++served, 'and one is served')
  refused++

  await network.mineTo(5)
  await answered(await network.sign(chatRequest('grace'), session), 'in the grace period')
  await network.mineTo(6)
  await rejected(late, { ...authenticator, code: 1, name: 'after the grace period' })
  t.match((await network.report())?.relays, { mined: served, rejected: refused })
  await network.mineTo(11)
  const claims = network.named('ClaimCreated').map((event) => field(event, 'num_relays'))
  t.strictSame(claims, [String(served)], 'the claim has the good relays and no other')
  t.equal(network.named('ClaimSettled').length, 1, 'and is paid')
})

t.test('a response that is altered on its way is seen by the gateway', async (t) => {
  const network = await Network.open(t)
  await network.start()
  const request = await network.sign(chatRequest('hello'))
  const { body } = await post(network.relayUrl, {
    method: 'POST',
    body: encodeRelayRequest(request),
  })
  const response = decodeRelayResponse(new Uint8Array(await body.arrayBuffer()))
  let answer: Uint8Array = utf8('')
  const wire = createServer((_, reply) => reply.end(answer))
  await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => wire.close(resolve)))
  const url = `http://127.0.0.1:${(wire.address() as AddressInfo).port}`
  for (const [name, alter, fault] of FALSE_RESPONSES) {
    answer = encodeRelayResponse(alter(response))
    const relayed = await network.send(request, url)
    t.equal(relayed.fault, fault, name)
    t.equal(relayed.verified, fault === '', name)
    t.equal(relayed.inner?.status, fault === '' ? 200 : undefined, name)
  }
})

/** Windows: claims of the first session at 6 … 8, proofs at 8 … 32; of the second four blocks later. */
const LONG_PROOF_WINDOW = {
  proof: { proofRequestProbability: 1 },
  shared: {
    proofWindowCloseOffsetBlocks: 24n,
    supplierUnbondingPeriodSessions: 10n,
    applicationUnbondingPeriodSessions: 10n,
    gatewayUnbondingPeriodSessions: 10n,
  },
}
const RELAYS = 6
const UNITS = 4_000n

t.test('a claim or a proof that is altered is refused by the chain', async (t) => {
  const network = await Network.open(t, { params: LONG_PROOF_WINDOW })
  const { devnet, application } = network
  const [operator = application] = network.operators
  const { address } = operator.signer
  await network.start()
  const header = headerOf(await network.session())
  for (let n = 0; n < RELAYS; n++) await network.relay(`question ${n}`)
  await network.mineTo(5)
  const second = headerOf(await network.session())
  for (let n = 0; n < 3; n++) await network.relay(`question ${n} of the second session`)
  const claim = (of: SessionHeader, root: Uint8Array, from = operator) => ({
    from,
    message: createClaimMessage(from.signer.address, of, root),
  })
  const prove = (bytes: Uint8Array, of = header) => ({
    from: operator,
    message: submitProofMessage(address, of, bytes),
  })
  const stored = () =>
    devnet.contextAt(devnet.head.height).state.claims.get(claimKey(header.sessionId, address))

  await network.mineTo(6)
  const [waiting] = devnet.mempool.waiting
  const { rootHash } = MsgCreateClaim.decode(waiting?.body.messages[0]?.value ?? utf8(''))
  t.equal(readU64(rootHash, 40), BigInt(RELAYS), 'the supplier has sent its claim')
  const false_ = [
    ['sum', claim(header, flipped(rootHash, 39)), 'is not equal to number of relays'],
    ['count', claim(header, flipped(rootHash, 47)), 'is not equal to number of relays'],
    [
      'no relays',
      claim(
        header,
        rootHash.map((byte, i) => (i < 40 ? byte : 0)),
      ),
      'zero count',
    ],
    ['length', claim(header, rootHash.subarray(1)), 'expecting root hash to be 48 bytes'],
    [
      'session',
      claim({ ...header, sessionId: 'ab'.repeat(32) }, rootHash),
      'session ID does not match',
    ],
    ['supplier', claim(header, rootHash, application), 'not found in session ID'],
    [
      'window',
      claim(second, rootHash),
      "less than the session's earliest claim commit height (10)",
    ],
    ['a proof before its time', prove(utf8('x')), 'earliest proof commit height (8)'],
  ] as const
  const answers = await submit(
    network,
    false_.map(([, sent]) => sent),
  )
  for (const [i, [name, , text]] of false_.entries()) t.match(answers[i], text, `claim: ${name}`)
  t.strictSame(stored()?.rootHash, rootHash, "what stands is the supplier's own")

  await network.mineTo(9)
  const ours = devnet.block(9)?.transactions[0]?.body.messages[0]?.value ?? utf8('')
  const honest = MsgSubmitProof.decode(ours).proof
  t.equal(stored()?.proofValidationStatus, 1, "the supplier's own proof is valid")
  await network.stop('SIGKILL')

  const others = await relaysOf(network, {
    end: height(8),
    operator: address,
    sessionId: second.sessionId,
  })
  const [foreign = utf8('')] = others.relays.values()
  const trueRoot = await foldRoot(others.leaves)
  const malformed = MALFORMED_PROOFS.map(({ alter }) =>
    prove(encodeProof(alter(decodeProof(honest), foreign))),
  )
  const [taken, tooLate, ...refusals] = await submit(network, [
    claim(second, flipped(trueRoot)),
    claim(header, rootHash),
    ...malformed,
  ])
  t.equal(taken, '', 'what is wrong with the hash in a root is not to be seen yet')
  t.match(tooLate, 'greater than session claim window close height (8)', 'a claim after its time')
  for (const [i, { name, text }] of MALFORMED_PROOFS.entries())
    t.match(refusals[i], text, `proof: ${name}`)
  t.equal(stored()?.proofValidationStatus, 1, 'what is refused changes nothing')

  const judged = async (bytes: Uint8Array, of = header) => {
    t.strictSame(await submit(network, [prove(bytes, of)]), [''], 'a block takes it')
    return field(network.named('ProofValidityChecked').at(-1), 'failure_reason')
  }
  for (const { name, alter, text } of INVALID_PROOFS) {
    t.match(await judged(encodeProof(alter(decodeProof(honest), foreign))), text, `proof: ${name}`)
    t.equal(stored()?.proofValidationStatus, 2, `proof: ${name}`)
  }
  const seed = devnet.block(11)?.hash ?? utf8('')
  const closest = await foldClosest(others.leaves, proofPath(seed, second.sessionId))
  const relay = others.relays.get(hex(closest.path)) ?? utf8('')
  const ofSecond = encodeProof(compactProof(closest, relay, UNITS))
  t.match(await judged(ofSecond, second), 'invalid closest merkle proof', 'root of a claim')
  t.equal(await judged(honest), '', 'the unaltered proof is valid again')

  await network.mineTo(36)
  const paid = network.named('ClaimSettled').map((event) => field(event, 'num_relays'))
  t.strictSame(paid, [String(RELAYS)], 'the honest claim is paid')
  const expired = network.named('ClaimExpired').map((event) => field(event, 'expiration_reason'))
  t.strictSame(expired, ['PROOF_INVALID'], 'the one with an altered root is not')
  t.equal(network.named('SupplierSlashed').length, 1, 'and costs stake')
})

/** What the stopped supplier holds of a session; relays by the path of their leaf in hex. */
async function relaysOf(network: Network, key: SessionKey) {
  await using store = await network.store()
  const leaves: Leaf[] = []
  const relays = new Map<string, Uint8Array>()
  for await (const leaf of store.relays.leaves(key)) {
    leaves.push({ path: leaf.path.slice(), digest: leaf.digest.slice() })
    const relay = await store.relays.relay(key, leaf.path)
    if (relay !== undefined) relays.set(hex(leaf.path), relay)
  }
  return { leaves, relays }
}
