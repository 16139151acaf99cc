/**
 * Who signs: from a mnemonic or hex digits to a private key, from a private key to a signer.
 *
 * HD path m/44'/118'/0'/0/0, as `pocketd keys add` uses. BIP-39 passphrases go into the seed as the
 * bytes they are: `pocketd` does not normalise them, JavaScript libraries do, and for anything but ASCII
 * that is another key. Source: cosmos/go-bip39, cosmos-sdk crypto/hd. Tested by test/keys/keyring.ts.
 */
import { pbkdf2Sync } from 'node:crypto'
import {
  Bip39,
  EnglishMnemonic,
  type HdPath,
  Slip10,
  Slip10Curve,
  Slip10RawIndex,
} from '@cosmjs/crypto'
import { unhex, utf8 } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import type { Address } from '../base/units.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import { addressOf } from '../protocol/address.ts'
import { KeyError } from './errors.ts'

export interface Signer {
  readonly address: Address
  /** 33 bytes, compressed. */
  readonly publicKey: Uint8Array
  /** Signs 32 bytes as they are. @returns 64 bytes, r ‖ s, low s, the same for the same digest */
  sign(digest: Uint8Array): Uint8Array
}

export interface SecretKey {
  /** 32 bytes, a number from 1 to N−1. */
  readonly privateKey: Uint8Array
  /** Whence the key came, if from words. Not with its BIP-39 passphrase, if it had one. */
  readonly mnemonic?: string | undefined
}

/** Its parts can be read, but neither printing nor `JSON.stringify` nor the log shows them. */
class HeldSecret implements SecretKey {
  readonly #privateKey: Uint8Array
  readonly #mnemonic: string | undefined

  constructor(privateKey: Uint8Array, mnemonic: string | undefined) {
    this.#privateKey = privateKey
    this.#mnemonic = mnemonic
  }

  get privateKey(): Uint8Array {
    return this.#privateKey
  }

  get mnemonic(): string | undefined {
    return this.#mnemonic
  }
}

/** Holds a key so that it does not get into a log by accident. */
export function secretKey(privateKey: Uint8Array, mnemonic?: string): SecretKey {
  return new HeldSecret(privateKey, mnemonic)
}

/** m/44'/118'/0'/0/0 */
const HD_PATH: HdPath = [
  Slip10RawIndex.hardened(44),
  Slip10RawIndex.hardened(118),
  Slip10RawIndex.hardened(0),
  Slip10RawIndex.normal(0),
  Slip10RawIndex.normal(0),
]

/**
 * The key that `pocketd keys add --recover` makes from these words.
 * @param passphrase of BIP-39 (not the one of a key file); by default none
 * @throws KeyError MNEMONIC for unknown words, wrong blanks or capitals, a wrong checksum
 */
export function secretFromMnemonic(mnemonic: string, passphrase = ''): SecretKey {
  checkMnemonic(mnemonic)
  const seed = pbkdf2Sync(utf8(mnemonic), utf8(`mnemonic${passphrase}`), 2048, 64, 'sha512')
  return secretKey(Slip10.derivePath(Slip10Curve.Secp256k1, seed, HD_PATH).privkey, mnemonic)
}

/** The library's own errors are not passed on: they may quote a word. */
function checkMnemonic(mnemonic: string): void {
  if (!/^[a-z]+( [a-z]+)*$/.test(mnemonic))
    throw new KeyError('MNEMONIC', 'a mnemonic is lower-case words with one blank between them')
  const words = mnemonic.split(' ')
  if (words.length < 12 || words.length > 24 || words.length % 3 !== 0)
    throw new KeyError('MNEMONIC', `a mnemonic has 12, 15, 18, 21 or 24 words, not ${words.length}`)
  const unknown = words.findIndex((word) => !EnglishMnemonic.wordlist.includes(word))
  if (unknown !== -1)
    throw new KeyError('MNEMONIC', `word ${unknown + 1} of the mnemonic is not in the BIP-39 list`)
  try {
    new EnglishMnemonic(mnemonic)
  } catch {
    throw new KeyError('MNEMONIC', 'the checksum is wrong: a word is another one or out of place')
  }
}

/** @param text 64 hex digits, either case. @throws KeyError HEX */
export function secretFromHex(text: string, curve: Curve): SecretKey {
  if (!/^[0-9a-fA-F]{64}$/.test(text))
    throw new KeyError('HEX', 'a private key is 64 hex digits and nothing else')
  const privateKey = unhex(text)
  if (!isPrivateKey(privateKey, curve))
    throw new KeyError('HEX', 'these digits are no key: they stand for 0, or for N or above')
  return secretKey(privateKey)
}

/** True for 32 bytes that are a number from 1 to N−1. */
export function isPrivateKey(bytes: Uint8Array, curve: Curve): boolean {
  try {
    curve.publicKey(bytes)
    return true
  } catch {
    return false
  }
}

/** 24 words. @param entropy 32 bytes from a source fit for keys */
export function createMnemonic(entropy: Uint8Array): string {
  assert(entropy.length === 32, '24 words are made from 32 bytes')
  return Bip39.encode(entropy).toString()
}

/** The private key stays inside: printing a signer shows its address and public key only. */
export function signerOf(secret: SecretKey, curve: Curve): Signer {
  // Not `slice`: that of a Buffer is a view.
  const privateKey = new Uint8Array(secret.privateKey)
  const publicKey = curve.publicKey(privateKey)
  return {
    address: addressOf(publicKey),
    publicKey,
    sign: (digest) => curve.sign(digest, privateKey),
  }
}
