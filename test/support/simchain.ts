/**
 * A simulated chain with people on it: keys, signed transactions, relays, claims and proofs.
 *
 * Everything is derived from small numbers, so a failing test can be run again as it was.
 */
import { concat, sha256, u64, utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { coin, type Height, height, type Upokt, upokt } from '../../src/base/units.ts'
import { signRing } from '../../src/crypto/ring.ts'
import { type Curve, loadCurve } from '../../src/crypto/secp256k1.ts'
import { Devnet, type DevnetOptions } from '../../src/devnet/chain.ts'
import { devnetGenesis, type GenesisInput } from '../../src/devnet/genesis.ts'
import { hydrate } from '../../src/devnet/session.ts'
import { addressOf } from '../../src/protocol/address.ts'
import { MsgSend } from '../../src/protocol/gen/cosmos/bank/bank.ts'
import { PubKey } from '../../src/protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import { AuthInfo, SignDoc, TxBody, TxRaw } from '../../src/protocol/gen/cosmos/tx/tx.ts'
import type { Any } from '../../src/protocol/gen/google/protobuf/any.ts'
import { MsgCreateClaim, MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import type { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import type { RelayRequest, RelayResponse } from '../../src/protocol/relay.ts'
import {
  dehydrate,
  leafPath,
  payloadHash,
  relayHash,
  requestSignableHash,
  responseDigest,
} from '../../src/protocol/relay.ts'
import { proofPath } from '../../src/protocol/rewards.ts'
import { foldClosest, foldRoot, type Leaf } from '../../src/smst/fold.ts'
import { encodeProof } from '../../src/smst/gob.ts'
import { leafDigest } from '../../src/smst/node.ts'
import { compactProof } from '../../src/smst/proof.ts'
import { ManualClock } from './clock.ts'

export const SERVICE = 'text-gen'
export const CUPR = 4_000n

export interface Person {
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array
  readonly address: string
}

export function person(name: string, curve: Curve): Person {
  const privateKey = sha256(utf8(`the key of ${name}`))
  const publicKey = curve.publicKey(privateKey)
  return { privateKey, publicKey, address: addressOf(publicKey) }
}

/** Bytes that look random and are always the same. */
export function steadyBytes(seed: string): (n: number) => Uint8Array {
  let count = 0n
  return (n) => {
    let bytes: Uint8Array = new Uint8Array(0)
    while (bytes.length < n) bytes = concat(bytes, sha256(concat(utf8(seed), u64(count++))))
    return bytes.slice(0, n)
  }
}

export interface TxOptions {
  readonly ordered?: boolean
  readonly gas?: bigint
  readonly fee?: bigint | 'none'
  readonly timeoutHeight?: bigint
  /** Nanoseconds since 1970; by default distinct and five minutes ahead of the latest block. */
  readonly timeout?: bigint | 'none'
  readonly sequence?: bigint
  readonly accountNumber?: bigint
  readonly chainId?: string
  readonly memo?: string
  readonly payer?: string
}

export class Simchain {
  readonly curve = loadCurve()
  readonly clock = new ManualClock()
  readonly operator = person('operator', this.curve)
  readonly owner = person('owner', this.curve)
  readonly rival = person('rival', this.curve)
  readonly application = person('application', this.curve)
  readonly gateway = person('gateway', this.curve)
  readonly stranger = person('stranger', this.curve)
  readonly devnet: Devnet
  readonly #random = steadyBytes('relays')
  #nonce = 0n

  constructor(input: GenesisInput = {}, options: Partial<DevnetOptions> = {}) {
    const rich = (who: Person) => ({
      address: who.address,
      balance: upokt(1_000_000_000_000n),
      publicKey: who.publicKey,
    })
    const everybody = [this.operator, this.owner, this.rival, this.application, this.gateway]
    const genesis = devnetGenesis({
      accounts: everybody.map(rich),
      services: [{ id: SERVICE, computeUnitsPerRelay: CUPR }],
      gateways: [{ address: this.gateway.address }],
      applications: [
        {
          address: this.application.address,
          serviceId: SERVICE,
          gateways: [this.gateway.address],
        },
      ],
      suppliers: [this.supplies(this.operator, this.owner)],
      ...input,
    })
    const deps = { clock: this.clock, curve: this.curve, log: silentLog() }
    this.devnet = new Devnet(deps, { ...options, genesis })
  }

  supplies(operator: Person, owner: Person) {
    const url = 'http://127.0.0.1:8545'
    return { operator: operator.address, owner: owner.address, services: [SERVICE], url }
  }

  get height(): Height {
    return this.devnet.head.height
  }

  async mineTo(at: number): Promise<void> {
    while (this.height < at) await this.devnet.mine()
  }

  /** The session that contains `at`, as the chain has it now. */
  session(at = this.height as number, who = this.application) {
    const context = this.devnet.contextAt(this.height)
    const question = { application: who.address, serviceId: SERVICE, at: height(at) }
    return hydrate(context, question)
  }

  header(at = this.height as number, who = this.application): SessionHeader {
    const { header } = this.session(at, who)
    if (header === undefined) throw new Error('a session without header')
    return header
  }

  tx(signer: Person, messages: Any[], options: TxOptions = {}): Uint8Array {
    const { state } = this.devnet.contextAt(this.height)
    const account = state.accounts.get(signer.address)
    const ahead = this.devnet.head.time + 300_000_000_000n + this.#nonce++
    const timeout = options.timeout ?? (options.ordered ? 'none' : ahead)
    const bodyBytes = TxBody.encode({
      messages,
      memo: options.memo ?? '',
      timeoutHeight: options.timeoutHeight ?? 0n,
      unordered: options.ordered !== true,
      timeoutTimestamp:
        timeout === 'none'
          ? undefined
          : { seconds: timeout / 1_000_000_000n, nanos: Number(timeout % 1_000_000_000n) },
      extensionOptions: [],
      nonCriticalExtensionOptions: [],
    }).finish()
    const sequence = options.sequence ?? (options.ordered ? (account?.sequence ?? 0n) : 0n)
    const fee = options.fee ?? 1n
    const authInfoBytes = AuthInfo.encode({
      signerInfos: [
        {
          publicKey: {
            typeUrl: '/cosmos.crypto.secp256k1.PubKey',
            value: PubKey.encode({ key: signer.publicKey }).finish(),
          },
          modeInfo: { single: { mode: 1 } },
          sequence,
        },
      ],
      fee: {
        amount: fee === 'none' ? [] : [coin(upokt(fee))],
        gasLimit: options.gas ?? 1_000_000n,
        payer: options.payer ?? '',
        granter: '',
      },
    }).finish()
    const signDoc = SignDoc.encode({
      bodyBytes,
      authInfoBytes,
      chainId: options.chainId ?? this.devnet.options.chainId,
      accountNumber: options.accountNumber ?? account?.number ?? 0n,
    }).finish()
    const signature = this.curve.sign(sha256(signDoc), signer.privateKey)
    return TxRaw.encode({ bodyBytes, authInfoBytes, signatures: [signature] }).finish()
  }

  /** Sends and mines. @returns how the block took it */
  async run(signer: Person, messages: Any[], options: TxOptions = {}) {
    const check = this.devnet.broadcast(this.tx(signer, messages, options))
    if (check.code !== 0) return { ...check, gasUsed: 0n, events: [], height: 0 }
    const block = await this.devnet.mine()
    const found = this.devnet.find(check.hash)
    const result = found?.block.results[found.index]
    if (result === undefined) return { ...check, code: -1, gasUsed: 0n, events: [], height: 0 }
    return { ...result, hash: check.hash, height: block.height as number }
  }

  send(from: Person, to: Person, amount: bigint): Any {
    return {
      typeUrl: '/cosmos.bank.v1beta1.MsgSend',
      value: MsgSend.encode({
        fromAddress: from.address,
        toAddress: to.address,
        amount: [coin(upokt(amount))],
      }).finish(),
    }
  }

  /** Dehydrated relays of the session, signed by the gateway for the application. */
  relays(header: SessionHeader, count: number, options: RelayOptions = {}): Uint8Array[] {
    return Array.from({ length: count }, (_, i) => this.relay(header, `prompt ${i}`, options))
  }

  relay(header: SessionHeader, prompt: string, options: RelayOptions = {}): Uint8Array {
    const operator = options.operator ?? this.operator
    const signer = options.signer ?? this.gateway
    const ring = options.ring ?? [this.application, this.gateway]
    const request: RelayRequest = {
      meta: {
        sessionHeader: header,
        signature: new Uint8Array(0),
        supplierOperatorAddress: operator.address,
      },
      payload: utf8(prompt),
    }
    const signature = signRing(
      { curve: this.curve, randomBytes: this.#random },
      requestSignableHash(request),
      ring.map((member) => member.publicKey),
      signer.privateKey,
    )
    const signed = { ...request, meta: { ...request.meta, signature } } as RelayRequest
    const payload = utf8(`answer to ${prompt}`)
    const response: RelayResponse = {
      meta: { sessionHeader: header, supplierOperatorSignature: new Uint8Array(0) },
      payload,
      relayMinerError: undefined,
      payloadHash: payloadHash(payload),
    }
    const supplierOperatorSignature = this.curve.sign(responseDigest(response), operator.privateKey)
    return dehydrate(signed, {
      ...response,
      meta: { sessionHeader: header, supplierOperatorSignature },
    })
  }

  async claim(header: SessionHeader, relays: readonly Uint8Array[], options: ClaimOptions = {}) {
    const root = options.root ?? (await foldRoot(leaves(relays, options.weight)))
    return claimMessage({
      supplierOperatorAddress: (options.operator ?? this.operator).address,
      sessionHeader: header,
      rootHash: root,
    })
  }

  async proof(header: SessionHeader, relays: readonly Uint8Array[], options: ProofOptions = {}) {
    const { seed } = options
    const path =
      options.path ??
      proofPath(this.devnet.block(seed ?? 0)?.hash ?? new Uint8Array(0), header.sessionId)
    const sorted = leaves(relays)
    const closest = await foldClosest(sorted, path)
    const value = relays.find((relay) => same(leafPath(relayHash(relay)), closest.path))
    if (value === undefined) throw new Error('the closest leaf is none of the relays')
    return proofMessage({
      supplierOperatorAddress: (options.operator ?? this.operator).address,
      sessionHeader: header,
      proof: encodeProof(compactProof(closest, value, CUPR)),
    })
  }
}

export interface RelayOptions {
  readonly operator?: Person
  readonly signer?: Person
  readonly ring?: readonly { publicKey: Uint8Array }[]
}

export interface ClaimOptions {
  readonly operator?: Person
  readonly root?: Uint8Array
  readonly weight?: bigint
}

export interface ProofOptions {
  readonly operator?: Person
  /** Height of the block whose hash decides. */
  readonly seed?: number
  readonly path?: Uint8Array
}

export function claimMessage(message: MsgCreateClaim): Any {
  return {
    typeUrl: '/pocket.proof.MsgCreateClaim',
    value: MsgCreateClaim.encode(message).finish(),
  }
}

export function proofMessage(message: MsgSubmitProof): Any {
  return {
    typeUrl: '/pocket.proof.MsgSubmitProof',
    value: MsgSubmitProof.encode(message).finish(),
  }
}

export function leaves(relays: readonly Uint8Array[], weight = CUPR): Leaf[] {
  return relays
    .map((relay) => {
      const path = leafPath(relayHash(relay))
      return { path, digest: leafDigest(path, relay, weight) }
    })
    .sort((a, b) => Buffer.compare(a.path, b.path))
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

export function balance(chain: Simchain, who: { address: string } | string): Upokt {
  const address = typeof who === 'string' ? who : who.address
  return upokt(chain.devnet.contextAt(chain.height).state.balances.get(address) ?? 0n)
}

/** The events of a type in the head block, with their attributes read as JSON. */
export function typed(
  events: readonly { type: string; attributes: readonly { key: string; value: string }[] }[],
  type: string,
): Record<string, unknown>[] {
  return events
    .filter((event) => event.type === type)
    .map(({ attributes }) =>
      Object.fromEntries(
        attributes.map(({ key, value }) => [
          key,
          key === 'mode' || key === 'msg_index' ? value : JSON.parse(value),
        ]),
      ),
    )
}
