import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { type Address, height, ms } from '../../src/base/units.ts'
import { Broadcaster } from '../../src/chain/broadcast.ts'
import type { NodeStatus, Rpc } from '../../src/chain/rpc.ts'
import { parseGasPrice, signTx, txHash } from '../../src/chain/tx.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import { addressOf } from '../../src/protocol/address.ts'
import { SimulateResponse } from '../../src/protocol/gen/cosmos/tx/tx.ts'
import type { Submission } from '../../src/store/sessions.ts'
import {
  BLOCK_TIME,
  curve,
  MESSAGE,
  open,
  refuseSimulation,
  SUPPLIER1,
  setUp,
} from '../support/broadcaster.ts'
import { ManualClock } from '../support/clock.ts'
import { recordings } from '../support/recorded-node.ts'
import { steadyBytes } from '../support/simchain.ts'

t.test(
  'a prepared transaction is unordered, in time, simulated with a fee, and signed',
  async (t) => {
    const { broadcaster, simulated, node } = await setUp(t)
    const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE, MESSAGE], {
      timeoutHeight: height(110),
    })
    const { raw, body, auth } = open(tx.bytes)
    t.equal(body.unordered, true)
    t.equal(body.timeoutHeight, 110n)
    t.equal(body.memo, '')
    t.strictSame(body.messages, [MESSAGE, MESSAGE])
    const nanos = BigInt(BLOCK_TIME + 570_000) * 1_000_000n + 0x3fff_ffffn
    t.strictSame(body.timeoutTimestamp, {
      seconds: nanos / 1_000_000_000n,
      nanos: Number(nanos % 1_000_000_000n),
    })
    t.equal(auth.signerInfos[0]?.sequence, 0n)
    t.strictSame(auth.fee?.amount, [{ denom: 'upokt', amount: '1' }])
    t.equal(auth.fee?.gasLimit, 180_002n, 'simulated gas and a fifth more')
    const context = { chainId: 'pocket', accountNumber: 9n }
    const plan = {
      messages: [MESSAGE, MESSAGE],
      timeoutHeight: height(110),
      timeoutAt: body.timeoutTimestamp ?? { seconds: 0n, nanos: 0 },
      ...{ unordered: true, sequence: 0n, gas: 180_002n, fee: 1n as never },
    }
    t.equal(hex(tx.bytes), hex(signTx(SUPPLIER1, plan, context)), 'signed for account 9 of pocket')
    t.equal(raw.signatures[0]?.length, 64)
    t.match(tx, {
      txHash: txHash(tx.bytes),
      sentAt: 100,
      timeoutHeight: 110,
      attempt: 1,
      resent: 0,
    })
    t.equal(tx.timeoutAt, BLOCK_TIME + 570_000 + 1_074)

    t.equal(simulated.length, 1)
    const asked = open(simulated[0] ?? new Uint8Array(0))
    t.strictSame(asked.auth.fee?.amount, [{ denom: 'upokt', amount: '1' }], 'simulated with a fee')
    t.strictSame(asked.body, body, 'the same body')
    t.strictSame(asked.raw.signatures, [new Uint8Array(64)], 'no signature leaves before it must')
    t.equal(node.count('broadcast_tx_sync'), 0, 'nothing is sent')
  },
)

t.test('gas grows with each attempt, up to twice', async (t) => {
  const { broadcaster } = await setUp(t)
  const limits: (bigint | undefined)[] = []
  for (const attempt of [1, 2, 9]) {
    const options = { timeoutHeight: height(110), attempt }
    const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE, MESSAGE], options)
    limits.push(open(tx.bytes).auth.fee?.gasLimit)
  }
  t.strictSame(limits, [180_002n, 225_003n, 360_004n])
})

t.test('options of a transaction', async (t) => {
  const { broadcaster, deps } = await setUp(t)
  const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE], {
    ...{ timeoutHeight: height(101), feeFactor: 1.5 ** 2, attempt: 3 },
    ...{ lifetime: ms(60_000), memo: 'stake' },
  })
  const { body, auth } = open(tx.bytes)
  t.strictSame(auth.fee?.amount, [{ denom: 'upokt', amount: '3' }], 'one upokt × 2.25, rounded up')
  t.equal(tx.attempt, 3)
  t.equal(tx.timeoutAt, BLOCK_TIME + 60_000 + 1_074)
  t.equal(body.memo, 'stake')
  const long = { timeoutHeight: height(101), lifetime: ms(3_600_000) }
  const capped = await broadcaster.prepare(SUPPLIER1, [MESSAGE], long)
  t.equal(
    capped.timeoutAt,
    BLOCK_TIME + 570_000 + 1_074,
    'the chain takes no more than ten minutes',
  )

  const dear = new Broadcaster(deps, {
    ...{ chainId: 'pocket', gasPrice: parseGasPrice('0.001upokt'), gasMin: 1_000_000n },
  })
  const floored = open(
    (await dear.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) })).bytes,
  )
  t.equal(floored.auth.fee?.gasLimit, 1_000_000n, 'never below the floor')
  t.strictSame(floored.auth.fee?.amount, [{ denom: 'upokt', amount: '1000' }])
})

t.test('two transactions never share a time stamp', async (t) => {
  const { deps } = await setUp(t)
  const seen: number[] = []
  for (const bytes of [
    [0, 0, 0, 0],
    [0, 0, 0, 3],
    [0, 0, 0, 4],
    [0xff, 0, 0, 0],
  ]) {
    const randomBytes = (length: number) => Uint8Array.from(bytes.slice(0, length))
    const broadcaster = new Broadcaster({ ...deps, randomBytes }, { chainId: 'pocket' })
    const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) })
    seen.push(open(tx.bytes).body.timeoutTimestamp?.nanos ?? -1)
  }
  const base = 500_000_000
  const high = (0xff000000 >>> 2) + base
  t.strictSame(seen, [base, base, base + 1, high - 1e9], '30 of the 32 bits count')
})

t.test('what makes a transaction pointless is said before it is signed', async (t) => {
  const { broadcaster, node, deps } = await setUp(t)
  const prepare = (at: number, signer: Signer = SUPPLIER1) =>
    broadcaster.prepare(signer, [MESSAGE], { timeoutHeight: height(at) })
  await t.rejects(prepare(100), { code: 'TX_TOO_LATE', data: { timeoutHeight: 100, height: 100 } })
  await t.rejects(prepare(99), { code: 'TX_TOO_LATE' })
  await t.resolves(prepare(101))
  const beta = new Broadcaster(deps, { chainId: 'pocket-beta' })
  await t.rejects(beta.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) }), {
    code: 'CHAIN_ID',
    data: { theirs: 'pocket', ours: 'pocket-beta' },
  })
  const unknown = recordings('abci_query').find(({ name }) => name === 'account_not_found')
  node.on('abci_query', () => unknown?.response.result)
  await t.rejects(prepare(101), { code: 'SIMULATION' }, 'the number of an account is remembered')
  const fresh = new Broadcaster(deps, { chainId: 'pocket' })
  await t.rejects(fresh.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) }), {
    code: 'ACCOUNT_MISSING',
    data: { address: SUPPLIER1.address },
  })
})

t.test('a refused simulation names the message and is thrown', async (t) => {
  const { broadcaster, node } = await setUp(t)
  const prepare = (fallbackGas?: bigint) =>
    broadcaster.prepare(SUPPLIER1, [MESSAGE], {
      timeoutHeight: height(110),
      ...(fallbackGas === undefined ? {} : { fallbackGas }),
    })
  refuseSimulation(node, 'claim_wrong_compute_units')
  const data = { refusal: 'message', messageIndex: 0 }
  await t.rejects(prepare(300_000n), { code: 'SIMULATION', retryable: false, data })
  refuseSimulation(node, 'claim_window_not_open')
  await t.rejects(prepare(), {
    code: 'SIMULATION',
    retryable: true,
    data: { refusal: 'window-early' },
  })
  const { auth } = open((await prepare(300_000n)).bytes)
  t.equal(
    auth.fee?.gasLimit,
    300_000n,
    'the gas given, for a window that opens with the next block',
  )
})

/** Another key for each number. */
function signerOf(n: number): Signer {
  const secret = sha256(utf8(`operator ${n}`))
  const publicKey = curve.publicKey(secret)
  const address = addressOf(publicKey) as Address
  return { address, publicKey, sign: (digest) => curve.sign(digest, secret) }
}

/** A chain that answers at once, and how often it was asked what. */
function quickChain() {
  const asked = { status: 0, account: 0, simulate: 0 }
  const value = SimulateResponse.encode({ gasInfo: { gasWanted: 0n, gasUsed: 90_000n } }).finish()
  const deps = {
    rpc: {
      status: async () => {
        asked.status++
        await setImmediate()
        return { chainId: 'pocket', height: height(100), time: ms(BLOCK_TIME) } as NodeStatus
      },
      abciQuery: async () => {
        asked.simulate++
        return value
      },
    } as unknown as Rpc,
    query: {
      account: async () => {
        asked.account++
        return { number: 9n, sequence: 0n }
      },
    },
    clock: new ManualClock(),
    randomBytes: steadyBytes('a process'),
  }
  return { asked, deps }
}

const timeOf = ({ bytes }: Submission) => {
  const { seconds = 0n, nanos = 0 } = open(bytes).body.timeoutTimestamp ?? {}
  return seconds * 1_000_000_000n + BigInt(nanos)
}

t.test('two processes of two hundred operators never share a time stamp', async (t) => {
  const { deps } = quickChain()
  const processes = ['daemon', 'command line'].map(
    (name) => new Broadcaster({ ...deps, randomBytes: steadyBytes(name) }, { chainId: 'pocket' }),
  )
  const signers = Array.from({ length: 200 }, (_, n) => signerOf(n))
  const times: bigint[] = []
  const options = { timeoutHeight: height(110) }
  for (const broadcaster of [...processes, ...processes])
    for (const tx of await Promise.all(
      signers.map((signer) => broadcaster.prepare(signer, [MESSAGE], options)),
    ))
      times.push(timeOf(tx))
  t.equal(times.length, 800)
  t.equal(new Set(times).size, 800)
  const earliest = BigInt(BLOCK_TIME + 570_000) * 1_000_000n
  t.ok(times.every((time) => time >= earliest && time < earliest + 2n ** 30n))
})

t.test('the time of this machine does not matter', async (t) => {
  const times = new Set<bigint>()
  for (const skew of [0, -600_000, 600_000, -86_400_000]) {
    const { deps } = quickChain()
    const clock = new ManualClock(BLOCK_TIME + skew)
    const broadcaster = new Broadcaster({ ...deps, clock }, { chainId: 'pocket' })
    times.add(
      timeOf(await broadcaster.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(110) })),
    )
  }
  t.equal(times.size, 1)
})

t.test('no lifetime goes beyond what the chain takes', async (t) => {
  const { deps } = quickChain()
  const made = (lifetime: number) => () =>
    new Broadcaster(deps, { chainId: 'pocket', lifetime: ms(lifetime) })
  t.throws(made(598_927), { name: 'AssertionError' })
  t.doesNotThrow(made(598_926))
})

t.test('what many senders ask at once is asked once, an account’s number for good', async (t) => {
  const { deps, asked } = quickChain()
  const broadcaster = new Broadcaster(deps, { chainId: 'pocket' })
  const signers = Array.from({ length: 16 }, (_, n) => signerOf(n))
  const all = () =>
    Promise.all(
      signers.map((signer) =>
        broadcaster.prepare(signer, [MESSAGE], { timeoutHeight: height(110) }),
      ),
    )
  await all()
  t.strictSame(asked, { status: 1, account: 16, simulate: 16 })
  await all()
  t.strictSame(asked, { status: 2, account: 16, simulate: 32 }, 'a new head each time')
})

t.test('what is too large for a simulation gets the gas that its sender names', async (t) => {
  const { deps, asked } = quickChain()
  const broadcaster = new Broadcaster(deps, { chainId: 'pocket' })
  const gasOf = async (size: number, fallbackGas?: bigint) => {
    const message = { typeUrl: '/m', value: new Uint8Array(size) }
    const fallback = fallbackGas === undefined ? {} : { fallbackGas }
    const options = { timeoutHeight: height(110), ...fallback }
    const { bytes } = await broadcaster.prepare(SUPPLIER1, [message], options)
    return open(bytes).auth.fee?.gasLimit
  }
  t.equal(await gasOf(480_000, 7_000_000n), 108_000n, 'simulated while it fits')
  t.equal(asked.simulate, 1)
  t.equal(await gasOf(530_000, 7_000_000n), 7_000_000n)
  t.equal(await gasOf(530_000, 5n), 80_000n, 'never below the floor')
  t.equal(asked.simulate, 1)
  t.equal(await gasOf(530_000), 108_000n, 'without such a figure the node is asked all the same')
  t.equal(asked.simulate, 2)
})
