import t from 'tap'
import { hex, sha256, unhex } from '../../src/base/bytes.ts'
import { MsgSend } from '../../src/protocol/gen/cosmos/bank/bank.ts'
import { PubKey } from '../../src/protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import { AuthInfo, SignDoc, TxBody, TxRaw } from '../../src/protocol/gen/cosmos/tx/tx.ts'
import { MsgCreateClaim, MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import {
  MsgStakeSupplier,
  MsgUnstakeSupplier,
} from '../../src/protocol/gen/pocket/supplier/supplier.ts'
import { json } from '../support/vectors.ts'

interface Tx {
  id: string
  note: string
  signer: { pub: string }
  chain_id: string
  account_number: string
  sequence: string
  gas_limit: string
  fee_upokt: string
  memo: string
  timeout_height: string
  unordered: boolean
  timeout_timestamp?: { seconds: string; nanos: number }
  messages: { type_url: string; value: string }[]
  body_bytes: string
  auth_info_bytes: string
  sign_bytes: string
  sign_digest: string
  signature: string
  tx_raw: string
  tx_hash: string
}

const { txs } = json<{ txs: Tx[] }>('tx.json')

function bodyOf(tx: Tx): TxBody {
  const timestamp = tx.timeout_timestamp
  return TxBody.fromPartial({
    messages: tx.messages.map((message) => ({
      typeUrl: message.type_url,
      value: unhex(message.value),
    })),
    memo: tx.memo,
    timeoutHeight: BigInt(tx.timeout_height),
    unordered: tx.unordered,
    ...(timestamp && {
      timeoutTimestamp: { seconds: BigInt(timestamp.seconds), nanos: timestamp.nanos },
    }),
  })
}

function authInfoOf(tx: Tx): AuthInfo {
  const key = PubKey.encode({ key: unhex(tx.signer.pub) }).finish()
  return AuthInfo.fromPartial({
    signerInfos: [
      {
        publicKey: { typeUrl: '/cosmos.crypto.secp256k1.PubKey', value: key },
        modeInfo: { single: { mode: 1 } },
        sequence: BigInt(tx.sequence),
      },
    ],
    fee: {
      amount: tx.fee_upokt === '0' ? [] : [{ denom: 'upokt', amount: tx.fee_upokt }],
      gasLimit: BigInt(tx.gas_limit),
    },
  })
}

t.test('every transaction of the Go implementation', async (t) => {
  t.equal(txs.length, 15)
  for (const tx of txs) {
    const what = `${tx.id} ${tx.note}`
    const bodyBytes = TxBody.encode(bodyOf(tx)).finish()
    const authInfoBytes = AuthInfo.encode(authInfoOf(tx)).finish()
    t.equal(hex(bodyBytes), tx.body_bytes, `${what}: body`)
    t.equal(hex(authInfoBytes), tx.auth_info_bytes, `${what}: auth info`)
    const signDoc = SignDoc.encode({
      bodyBytes,
      authInfoBytes,
      chainId: tx.chain_id,
      accountNumber: BigInt(tx.account_number),
    }).finish()
    t.equal(hex(signDoc), tx.sign_bytes, `${what}: sign bytes`)
    t.equal(hex(sha256(signDoc)), tx.sign_digest, `${what}: digest`)
    const raw = TxRaw.encode({
      bodyBytes,
      authInfoBytes,
      signatures: [unhex(tx.signature)],
    }).finish()
    t.equal(hex(raw), tx.tx_raw, `${what}: raw`)
    t.equal(hex(sha256(raw)).toUpperCase(), tx.tx_hash, `${what}: hash`)
  }
})

t.test('every message reads and writes alike', async (t) => {
  const codecs = {
    '/pocket.proof.MsgCreateClaim': (value: Uint8Array) =>
      MsgCreateClaim.encode(MsgCreateClaim.decode(value)),
    '/pocket.proof.MsgSubmitProof': (value: Uint8Array) =>
      MsgSubmitProof.encode(MsgSubmitProof.decode(value)),
    '/pocket.supplier.MsgStakeSupplier': (value: Uint8Array) =>
      MsgStakeSupplier.encode(MsgStakeSupplier.decode(value)),
    '/pocket.supplier.MsgUnstakeSupplier': (value: Uint8Array) =>
      MsgUnstakeSupplier.encode(MsgUnstakeSupplier.decode(value)),
    '/cosmos.bank.v1beta1.MsgSend': (value: Uint8Array) => MsgSend.encode(MsgSend.decode(value)),
  }
  const seen = new Set<string>()
  for (const tx of txs)
    for (const { type_url: typeUrl, value } of tx.messages) {
      const recode = codecs[typeUrl as keyof typeof codecs]
      t.equal(hex(recode(unhex(value)).finish()), value, `${tx.id} ${typeUrl}`)
      seen.add(typeUrl)
    }
  t.equal(seen.size, 5)
})
