/** A chain's state with claims written straight into it, to be settled. */
import { concat, hex, sha256, u64, utf8 } from '../../src/base/bytes.ts'
import { height, upokt } from '../../src/base/units.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { Archive } from '../../src/devnet/archive.ts'
import { DAO, devnetGenesis, type GenesisInput, writeGenesis } from '../../src/devnet/genesis.ts'
import { settleClaims } from '../../src/devnet/settlement.ts'
import type { Context, State } from '../../src/devnet/state.ts'
import { claimKey } from '../../src/devnet/state.ts'
import type { Claim } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { CUPR, person, SERVICE } from './simchain.ts'

const curve = loadCurve()
const addressNamed = (name: string) => person(name, curve).address

/** Who is on the chain of every test, by what they are. */
export const WHO = {
  application: addressNamed('application'),
  operator: addressNamed('operator'),
  owner: addressNamed('owner'),
  rival: addressNamed('rival'),
  author: addressNamed('author'),
  stranger: addressNamed('stranger'),
  dao: DAO as string,
}

export interface ClaimInput {
  readonly operator?: string
  readonly application?: string
  readonly relays: bigint
  readonly computeUnitsPerRelay?: bigint
  /** 0 pending, 1 validated, 2 invalid; validated if left out. */
  readonly status?: Claim['proofValidationStatus']
  /** Of the session; 1 and 4 if left out. */
  readonly start?: number
  readonly end?: number
}

export class Settling {
  readonly state: State = new Archive(10).stateAt(0)

  constructor(input: GenesisInput = {}) {
    const { application, operator, owner, rival, author } = WHO
    const url = 'http://127.0.0.1:8545'
    const genesis = devnetGenesis({
      services: [{ id: SERVICE, computeUnitsPerRelay: CUPR, owner: author }],
      applications: [{ address: application, serviceId: SERVICE }],
      suppliers: [
        { operator, owner, services: [SERVICE], url },
        { operator: rival, services: [SERVICE], url },
      ],
      ...input,
    })
    writeGenesis(this.state, genesis)
    for (let at = 1; at <= 40; at++)
      this.state.blockHashes.set(String(at), sha256(utf8(`block ${at}`)))
  }

  context(at: number): Context {
    return { state: this.state, height: height(at), time: 0n, events: [] }
  }

  claim(input: ClaimInput): Claim {
    const { operator = WHO.operator, application = WHO.application } = input
    const { relays, computeUnitsPerRelay = CUPR, start = 1, end = 4 } = input
    const name = utf8(`${application} ${start}`)
    const root = concat(sha256(name), u64(relays * computeUnitsPerRelay), u64(relays))
    const claim: Claim = {
      supplierOperatorAddress: operator,
      sessionHeader: {
        applicationAddress: application,
        serviceId: SERVICE,
        sessionId: hex(sha256(name)),
        sessionStartBlockHeight: BigInt(start),
        sessionEndBlockHeight: BigInt(end),
      },
      rootHash: root,
      proofValidationStatus: input.status ?? 1,
    }
    this.put(claim)
    return claim
  }

  put(claim: Claim): void {
    const key = claimKey(claim.sessionHeader?.sessionId ?? '', claim.supplierOperatorAddress)
    this.state.claims.set(key, claim)
  }

  settle(at = 10) {
    const context = this.context(at)
    const leaves = settleClaims(context)
    return { events: context.events, leaves }
  }

  balance(address: string): bigint {
    return this.state.balances.get(address) ?? 0n
  }

  stakeOf(address: string): bigint {
    const { applications, suppliers } = this.state
    const found = applications.get(address) ?? suppliers.get(address)
    return upokt(found?.stake?.amount ?? 0)
  }

  /** Of everybody together. */
  supply(): bigint {
    return this.state.balances.values().reduce((sum, balance) => sum + balance, 0n)
  }
}
