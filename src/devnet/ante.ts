/**
 * What every transaction passes before its messages run: form, timeouts, fee, signatures, sequence.
 *
 * Source: cosmos-sdk x/auth/ante, baseapp/baseapp.go. Tested by test/devnet/ante.ts.
 */
import { sha256 } from '../base/bytes.ts'
import { upokt } from '../base/units.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import { addressOf, decodeAddress } from '../protocol/address.ts'
import { PubKey } from '../protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import { SignDoc, type SignerInfo } from '../protocol/gen/cosmos/tx/tx.ts'
import { moduleAddress, transfer } from './bank.ts'
import { registered } from './errors.ts'
import { coinText, plainEvent } from './events.ts'
import { anteGas, type GasMeter } from './gas.ts'
import { balanceOf, type Context } from './state.ts'
import { feeOf, type Transaction, timeText } from './tx.ts'

/** In the mempool, in a block, or only tried for its gas. */
export type Mode = 'check' | 'deliver' | 'simulate'

export interface AnteDeps {
  readonly curve: Curve
  readonly chainId: string
}

const MEMO_MAX = 256
const UNORDERED_MAX_NS = 600_000_000_000n
/** 0.000001 upokt for each unit of gas, rounded up. */
const GAS_PER_UPOKT = 1_000_000n

/** Writes fee, keys and sequences; what it threw away on a refusal is the caller's business. @throws Refusal */
export function ante(
  context: Context,
  tx: Transaction,
  mode: Mode,
  gas: GasMeter,
  deps: AnteDeps,
): void {
  checkForm(context, tx)
  const storesKey = tx.signers.some(
    (signer) => context.state.accounts.get(signer)?.publicKey === undefined,
  )
  const hasFee = (tx.authInfo.fee?.amount.length ?? 0) > 0
  const use = { bytes: tx.bytes.length, isOrdered: !tx.body.unordered, hasFee, storesKey }
  gas.use(anteGas(use), 'ReadPerByte')
  if (hasFee || mode !== 'simulate') payFee(context, tx, mode)
  for (const [i, signer] of tx.signers.entries()) {
    const info = tx.authInfo.signerInfos[i]
    if (info !== undefined) checkSigner(context, tx, { signer, info, index: i }, mode, deps)
  }
}

function checkForm(context: Context, tx: Transaction): void {
  const { body, signatures, signers } = tx
  const infos = tx.authInfo.signerInfos.length
  if (body.extensionOptions.length > 0) throw registered('sdk', 18, 'unknown extension options')
  if (signatures.length === 0) throw registered('sdk', 15)
  if (signatures.length !== signers.length) {
    const reason = `wrong number of signers; expected ${signers.length}, got ${signatures.length}`
    throw registered('sdk', 4, reason)
  }
  if (infos !== signers.length) {
    const reason = `invalid number of signer;  expected: ${signers.length}, got ${infos}`
    throw registered('sdk', 4, reason)
  }
  const { timeoutHeight } = body
  if (timeoutHeight > 0n && BigInt(context.height) > timeoutHeight) {
    const reason = `block height: ${context.height}, timeout height: ${timeoutHeight}`
    throw registered('sdk', 30, reason)
  }
  if (tx.timeout !== undefined && tx.timeout < context.time) {
    const [now, then] = [timeText(context.time), timeText(tx.timeout)]
    throw registered('sdk', 42, `block time: ${now}, timeout timestamp: ${then}`)
  }
  const memo = Buffer.byteLength(body.memo)
  if (memo > MEMO_MAX) {
    const reason = `maximum number of characters is ${MEMO_MAX} but received ${memo} characters`
    throw registered('sdk', 12, reason)
  }
}

function payFee(context: Context, tx: Transaction, mode: Mode): void {
  const { state, events } = context
  const fee = feeOf(tx)
  const limit = tx.authInfo.fee?.gasLimit ?? 0n
  const given = (tx.authInfo.fee?.amount ?? []).map((coin) => `${coin.amount}${coin.denom}`)
  if (mode === 'check') {
    const required = (limit + GAS_PER_UPOKT - 1n) / GAS_PER_UPOKT
    if (fee < required) {
      const reason = `insufficient fees; got: ${given.join(',')} required: ${coinText(required)}`
      throw registered('sdk', 13, reason)
    }
  }
  const payer = tx.feePayer
  if (state.accounts.get(payer) === undefined) {
    throw registered('sdk', 9, `fee payer address: ${rawText(decodeAddress(payer))} does not exist`)
  }
  if (fee > 0n) {
    const has = balanceOf(state, payer)
    if (has < fee) {
      const reason = `spendable balance ${has === 0n ? '' : coinText(has)} is smaller than ${coinText(fee)}: insufficient funds`
      throw registered('sdk', 5, reason)
    }
    transfer(context, payer, moduleAddress('fee_collector'), upokt(fee))
  }
  const text = fee === 0n ? '' : coinText(fee)
  events.push(plainEvent('tx', { fee: text, fee_payer: payer }))
}

/** Bytes as Go's JSON prints them for text: each that is no UTF-8 becomes one replacement character. */
function rawText(bytes: Uint8Array): string {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at] ?? 0
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    try {
      text += decoder.decode(bytes.subarray(at, at + length))
      at += length
    } catch {
      text += '\ufffd'
      at++
    }
  }
  return text
}

interface Signing {
  readonly signer: string
  readonly info: SignerInfo
  readonly index: number
}

function checkSigner(
  context: Context,
  tx: Transaction,
  { signer, info, index }: Signing,
  mode: Mode,
  deps: AnteDeps,
): void {
  const { state, events } = context
  const given = keyOf(info)
  if (given !== undefined && mode !== 'simulate' && addressOf(given) !== signer) {
    const reason = `pubKey does not match signer address ${signer} with signer index: ${index}`
    throw registered('sdk', 8, reason)
  }
  const account = state.accounts.get(signer)
  if (account === undefined) throw registered('sdk', 9, `account ${signer} does not exist`)
  const publicKey = account.publicKey ?? given
  if (publicKey === undefined && mode !== 'simulate')
    throw registered('sdk', 8, 'pubkey on account is not set')
  if (tx.body.unordered) checkUnordered(context, tx, signer, info, mode)
  else if (info.sequence !== account.sequence) {
    const reason = `account sequence mismatch, expected ${account.sequence}, got ${info.sequence}`
    throw registered('sdk', 32, reason)
  }
  const signature = tx.signatures[index] ?? new Uint8Array(0)
  if (mode !== 'simulate' && publicKey !== undefined) {
    const signDoc = {
      bodyBytes: tx.raw.bodyBytes,
      authInfoBytes: tx.raw.authInfoBytes,
      chainId: deps.chainId,
      accountNumber: account.number,
    }
    const digest = sha256(SignDoc.encode(signDoc).finish())
    const isDirect = info.modeInfo?.single?.mode === 1
    if (!isDirect || !deps.curve.verify(digest, signature, publicKey)) {
      const reason = `signature verification failed; please verify account number (${account.number}) and chain-id (${deps.chainId}): (unable to verify single signer signature)`
      throw registered('sdk', 4, reason)
    }
  }
  const sequence = tx.body.unordered ? account.sequence : account.sequence + 1n
  state.accounts.set(signer, { ...account, sequence, ...(publicKey && { publicKey }) })
  if (!tx.body.unordered) events.push(plainEvent('tx', { acc_seq: `${signer}/${info.sequence}` }))
  const text = Buffer.from(signature).toString('base64')
  events.push(plainEvent('tx', { signature: text }))
}

function keyOf({ publicKey }: SignerInfo): Uint8Array | undefined {
  if (publicKey?.typeUrl !== '/cosmos.crypto.secp256k1.PubKey') return undefined
  try {
    return PubKey.decode(publicKey.value).key
  } catch {
    return undefined
  }
}

function checkUnordered(
  context: Context,
  tx: Transaction,
  signer: string,
  info: SignerInfo,
  mode: Mode,
): void {
  if (tx.timeout === undefined)
    throw registered('sdk', 18, 'unordered transaction must have timeout_timestamp set')
  if (tx.timeout > context.time + UNORDERED_MAX_NS)
    throw registered('sdk', 18, 'unordered tx ttl exceeds 10m0s')
  if (info.sequence !== 0n)
    throw registered('sdk', 18, 'sequence is not allowed for unordered transactions')
  if (mode === 'simulate') return
  const key = `${signer}/${tx.timeout}`
  if (context.state.nonces.get(key) !== undefined) {
    const reason = `failed to add unordered nonce: sender ${signer} has already used timeout ${tx.timeout}`
    throw registered('sdk', 18, reason)
  }
  context.state.nonces.set(key, tx.timeout)
}

/** Forgets what no transaction can use again. */
export function pruneNonces({ state, time }: Context): void {
  for (const [key, timeout] of state.nonces.entries()) if (timeout < time) state.nonces.delete(key)
}
