/** Whose keys a chain of one's own knows, by name. */
import { sha256, utf8 } from '../../src/base/bytes.ts'
import type { Address } from '../../src/base/units.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { secretKey, signerOf } from '../../src/keys/keyring.ts'

export interface LocalAccount {
  readonly name: string
  readonly address: Address
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array
}

/** The same keys under the same names each time, so that what uses them can be kept. They guard nothing. */
export function makeAccounts(options: {
  readonly suppliers: number
  readonly applications: number
}): Record<string, LocalAccount> {
  const curve = loadCurve()
  const counted = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${name}${i + 1}`)
  const names = [
    ...['validator', 'faucet', 'dao', 'service_owner', 'gateway1', 'partner'],
    ...counted('app', options.applications),
    ...counted('supplier', options.suppliers),
    ...counted('owner', options.suppliers),
  ]
  const accounts = names.map((name) => {
    const privateKey = sha256(utf8(`localnet ${name}`))
    const { address, publicKey } = signerOf(secretKey(privateKey), curve)
    return [name, { name, address, privateKey, publicKey }] as const
  })
  return Object.fromEntries(accounts)
}
