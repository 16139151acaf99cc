import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { type Height, ms, upokt } from '../../src/base/units.ts'
import {
  feeFor,
  greater,
  millisecondsOf,
  parseGasPrice,
  scaleUp,
  signTx,
  type Tx,
  timestampAfter,
  txHash,
  unsignedTx,
} from '../../src/chain/tx.ts'
import { packageRoot } from '../../src/config/root.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { AuthInfo, TxBody, TxRaw } from '../../src/protocol/gen/cosmos/tx/tx.ts'

interface TxVector {
  readonly id: string
  readonly note: string
  readonly account_number: string
  readonly sequence: string
  readonly chain_id: string
  readonly fee_upokt: string
  readonly gas_limit: string
  readonly memo: string
  readonly timeout_height: string
  readonly timeout_timestamp?: { seconds: string; nanos: number }
  readonly unordered: boolean
  readonly messages: readonly { type_url: string; value: string }[]
  readonly signer: { priv: string; pub: string }
  readonly body_bytes: string
  readonly auth_info_bytes: string
  readonly signature: string
  readonly tx_raw: string
  readonly tx_hash: string
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(join(packageRoot(), 'test/vectors', file), 'utf8')) as T
}

const { txs: VECTORS } = read<{ txs: TxVector[] }>('tx.json')
const RECORDED = read<Record<string, { hash: string; tx_hex: string }>>('chain/txs.json')
const KEYS = read<{
  chain_id: string
  accounts: Record<string, { private_key_hex: string; public_key_hex: string }>
}>('chain/keys.json')
const curve = loadCurve()

function signer(privateKey: string) {
  const secret = unhex(privateKey)
  const sign = (digest: Uint8Array) => curve.sign(digest, secret)
  return { publicKey: curve.publicKey(secret), sign }
}

t.test('the same bytes as the chain tools sign', async (t) => {
  t.equal(VECTORS.length, 15)
  for (const vector of VECTORS) {
    const id = `${vector.id} ${vector.note}`
    const { seconds, nanos } = vector.timeout_timestamp ?? {}
    const tx: Tx = {
      messages: vector.messages.map(({ type_url, value }) => ({
        typeUrl: type_url,
        value: unhex(value),
      })),
      memo: vector.memo,
      timeoutHeight: Number(vector.timeout_height) as Height,
      unordered: vector.unordered,
      sequence: BigInt(vector.sequence),
      gas: BigInt(vector.gas_limit),
      fee: upokt(vector.fee_upokt),
      ...(seconds === undefined
        ? {}
        : { timeoutAt: { seconds: BigInt(seconds), nanos: nanos ?? 0 } }),
    }
    const context = { chainId: vector.chain_id, accountNumber: BigInt(vector.account_number) }
    const key = signer(vector.signer.priv)
    t.equal(hex(key.publicKey), vector.signer.pub, id)
    const bytes = signTx(key, tx, context)
    const raw = TxRaw.decode(bytes)
    t.equal(hex(raw.bodyBytes), vector.body_bytes, `${id}: body`)
    t.equal(hex(raw.authInfoBytes), vector.auth_info_bytes, `${id}: fee and signer`)
    t.equal(hex(raw.signatures[0] ?? new Uint8Array(0)), vector.signature, `${id}: signature`)
    t.equal(hex(bytes), vector.tx_raw, `${id}: all`)
    t.equal(txHash(bytes), vector.tx_hash, `${id}: hash`)
    const unsigned = unsignedTx(key.publicKey, tx)
    t.equal(unsigned.length, bytes.length, `${id}: simulated at its real size`)
    t.strictSame(TxRaw.decode(unsigned).signatures, [new Uint8Array(64)], `${id}: unsigned`)
  }
})

t.test('recorded transactions signed again', async (t) => {
  const accounts = Object.entries(KEYS.accounts)
  const names = Object.keys(RECORDED)
  t.equal(names.length, 9)
  for (const name of names) {
    const { tx_hex, hash } = RECORDED[name] ?? { tx_hex: '', hash: '' }
    const { bodyBytes, authInfoBytes } = TxRaw.decode(unhex(tx_hex))
    const body = TxBody.decode(bodyBytes)
    const { signerInfos, fee } = AuthInfo.decode(authInfoBytes)
    const publicKey = hex((signerInfos[0]?.publicKey?.value ?? new Uint8Array(0)).slice(2))
    const accountNumber = accounts.findIndex(([, account]) => account.public_key_hex === publicKey)
    const [, account] = accounts[accountNumber] ?? []
    const tx: Tx = {
      messages: body.messages,
      memo: body.memo,
      timeoutHeight: Number(body.timeoutHeight) as Height,
      unordered: body.unordered,
      sequence: signerInfos[0]?.sequence ?? 0n,
      gas: fee?.gasLimit ?? 0n,
      fee: upokt(fee?.amount[0]?.amount ?? '0'),
      ...(body.timeoutTimestamp === undefined ? {} : { timeoutAt: body.timeoutTimestamp }),
    }
    const context = { chainId: KEYS.chain_id, accountNumber: BigInt(accountNumber) }
    const bytes = signTx(signer(account?.private_key_hex ?? ''), tx, context)
    t.equal(hex(bytes), tx_hex, name)
    t.equal(txHash(bytes), hash, name)
  }
})

t.test('another chain, account, fee or time gives another signature', async (t) => {
  const key = signer('01'.padStart(64, '0'))
  const tx = { messages: [], unordered: true, sequence: 0n, gas: 1n, fee: upokt(1) }
  const sign = (change: Partial<Tx>, chainId = 'pocket', accountNumber = 1n) =>
    txHash(signTx(key, { ...tx, ...change }, { chainId, accountNumber }))
  const all = [
    sign({}),
    sign({}, 'pocket-beta'),
    sign({}, 'pocket', 2n),
    sign({ fee: upokt(2) }),
    sign({ gas: 2n }),
    sign({ memo: 'x' }),
    sign({ timeoutHeight: 5 as Height }),
    sign({ timeoutAt: { seconds: 1n, nanos: 1 } }),
    sign({ timeoutAt: { seconds: 1n, nanos: 2 } }),
  ]
  t.equal(new Set(all).size, all.length)
})

t.test('gas prices', async (t) => {
  const cases: [text: string, gas: bigint, fee: bigint][] = [
    ['0.000001upokt', 1n, 1n],
    ['0.000001', 1_000_000n, 1n],
    ['0.000001upokt', 1_000_001n, 2n],
    ['0.000001upokt', 5_000_000n, 5n],
    ['0.001upokt', 93_800n, 94n],
    ['0.001upokt', 94_000n, 94n],
    ['1upokt', 200_000n, 200_000n],
    ['0.000000001upokt', 200_000n, 1n],
    ['0upokt', 200_000n, 1n],
  ]
  for (const [text, gas, fee] of cases)
    t.equal(feeFor(gas, parseGasPrice(text)), fee, `${gas} at ${text}`)
  for (const text of ['', 'upokt', '-1upokt', '0.1pokt', '1e-6upokt', '.5upokt', '0.1 upokt'])
    t.throws(() => parseGasPrice(text), RangeError, text)
})

t.test('a fee that replaces another is above it', async (t) => {
  const price = parseGasPrice('0.000001upokt')
  t.equal(feeFor(100n, price, 1.5), 2n)
  t.equal(feeFor(100n, price, 2.25), 3n)
  t.equal(feeFor(4_000_000n, price, 1.5), 6n)
  fc.assert(
    fc.property(fc.bigInt(1n, 10n ** 12n), fc.integer({ min: 1, max: 5 }), (gas, attempt) => {
      const fee = feeFor(gas, price, 1.5 ** (attempt - 1))
      const next = feeFor(gas, price, 1.5 ** attempt)
      return fee >= 1n && fee * 1_000_000n >= gas && next > fee
    }),
  )
})

t.test('rounding is always up', async (t) => {
  t.equal(scaleUp(58_571n, 1.2), 70_286n)
  t.equal(scaleUp(10n, 1), 10n)
  t.equal(scaleUp(0n, 1.5), 0n)
  t.equal(greater(3n, 2n), 3n)
  t.equal(greater(2n, 3n), 3n)
})

t.test('protobuf times', async (t) => {
  t.strictSame(timestampAfter(ms(1_000), 0n), { seconds: 1n, nanos: 0 })
  t.strictSame(timestampAfter(ms(1_999), 1_000_001n), { seconds: 2n, nanos: 1 })
  t.strictSame(timestampAfter(ms(0), 1_073_741_823n), { seconds: 1n, nanos: 73_741_823 })
  t.equal(millisecondsOf({ seconds: 2n, nanos: 1 }), 2_001)
  t.equal(millisecondsOf({ seconds: 2n, nanos: 0 }), 2_000)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4e12 }), fc.bigInt(0n, 10n ** 12n), (from, nanos) => {
      const time = timestampAfter(ms(from), nanos)
      const total = time.seconds * 1_000_000_000n + BigInt(time.nanos)
      const isExact = total === BigInt(from) * 1_000_000n + nanos
      return isExact && time.nanos < 1e9 && BigInt(millisecondsOf(time)) * 1_000_000n >= total
    }),
  )
})
