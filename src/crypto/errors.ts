/** What can go wrong with keys, points and rings. Tested by test/crypto/secp256k1.ts and test/crypto/ring.ts. */
import { SupplierError } from '../base/errors.ts'

export const CRYPTO_ERRORS = {
  CURVE_UNAVAILABLE:
    'The secp256k1 library could not be loaded. Install again without leaving out packages; where there is no native binary the WebAssembly one is used.',
  PRIVATE_KEY: 'A private key is not a number from 1 to N-1 in 32 bytes.',
  RING_MALFORMED:
    'A ring signature does not have the form of one: 2 to 64 members, 69 + 65 bytes each, compressed points.',
  RING_MEMBERS:
    'These keys cannot make a ring: 2 to 64 valid public keys are needed, and the signer must be one of them.',
} as const

export class CryptoError extends SupplierError<keyof typeof CRYPTO_ERRORS> {}
