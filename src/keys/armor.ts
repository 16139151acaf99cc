/**
 * The private key as `pocketd keys export NAME` writes it: text between BEGIN and END lines, under a
 * passphrase of its own. Read only.
 *
 * OpenPGP's ASCII armor (RFC 4880, section 6.2) around one of two seals. `kdf: argon2`: argon2id and
 * ChaCha20-Poly1305 under a nonce of zeros, as the salt is new each time. `kdf: bcrypt`, of older
 * exports: SHA-256 of the bcrypt text, and NaCl's secretbox. Inside is an amino prefix, then the key.
 * Source: cosmos-sdk v0.53 crypto/armor.go, crypto/xsalsa20symmetric. Tested by test/keys/armor.ts.
 */
import { createDecipheriv } from 'node:crypto'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { argon2idAsync } from '@noble/hashes/argon2.js'
import { base64, concat, hex, sha256, unbase64, unhex, utf8 } from '../base/bytes.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import { bcrypt } from './bcrypt.ts'
import { KeyError, shown } from './errors.ts'
import { isPrivateKey, type SecretKey, secretKey } from './keyring.ts'

/** An export takes some 250; what stands around it counts too. */
const TEXT_CHARACTERS_MAX = 16_384
const BLOCK = 'TENDERMINT PRIVATE KEY'
const BEGIN = /-----BEGIN ([^\r\n]{1,64}?)-----/
const TAG_BYTES = 16
const SECRETBOX_NONCE_BYTES = 24
const CHACHA_NONCE = new Uint8Array(12)
/** Neither stands in the text: another cost would be another format. Memory in KiB. */
const ARGON2 = { t: 1, m: 65_536, p: 4, dkLen: 32 }
const BCRYPT_COST = 12
/** What amino writes before the bytes of a key: four bytes for the type, then the length. */
const AMINO_SECP256K1 = 'e1b0f79b20'
const AMINO_ED25519 = 'a328891040'

/** An armored key that is whole; still sealed. */
export interface ArmoredKey {
  readonly kdf: 'argon2' | 'bcrypt'
  /** 16 bytes. */
  readonly salt: Uint8Array
  readonly sealed: Uint8Array
}

/** True for a text that wants to be an armor, of whatever. */
export function isArmor(text: string): boolean {
  return BEGIN.test(text)
}

/**
 * What stands before the BEGIN line and after the END line is passed over: a terminal's output, copied
 * whole, begins with the question for the passphrase.
 * @throws KeyError ARMOR for another block, a cut or altered text; KEY_KIND if it says it is another key
 */
export function parseArmor(text: string): ArmoredKey {
  const begin = text.length > TEXT_CHARACTERS_MAX ? null : BEGIN.exec(text)
  if (begin === null) throw new KeyError('ARMOR', 'this is not an armored key')
  const [line, block = ''] = begin
  if (block !== BLOCK)
    throw new KeyError('ARMOR', `the armor holds a ${shown(block)}, not a ${BLOCK}`)
  const lines = text.slice(begin.index + line.length).split('\n')
  const trimmed = lines.map((part) => part.trim())
  const end = trimmed.indexOf(`-----END ${BLOCK}-----`)
  if (end === -1) throw new KeyError('ARMOR', 'the armor is cut: its END line is missing')
  const { headers, sealed } = readBlock(trimmed.slice(1, end))
  const { kdf, salt = '', type = 'secp256k1' } = Object.fromEntries(headers)
  if (type !== 'secp256k1')
    throw new KeyError('KEY_KIND', `the armor holds a key of type ${shown(type)}, not secp256k1`)
  if (kdf !== 'argon2' && kdf !== 'bcrypt')
    throw new KeyError('ARMOR', 'the armor names neither argon2 nor bcrypt as its kdf')
  if (!/^[0-9a-fA-F]{32}$/.test(salt)) throw new KeyError('ARMOR', 'the armor has no salt')
  return { kdf, salt: unhex(salt), sealed }
}

/** @param lines between BEGIN and END: headers, an empty line, base64, its checksum */
function readBlock(lines: readonly string[]): {
  headers: Map<string, string>
  sealed: Uint8Array
} {
  const gap = lines.indexOf('')
  const headers = new Map<string, string>()
  for (const line of lines.slice(0, Math.max(gap, 0))) {
    const [, name = '', value = ''] = /^([^:]+): (.*)$/.exec(line) ?? []
    if (name === '' || headers.has(name))
      throw new KeyError('ARMOR', 'the armor has a header that is malformed or comes twice')
    headers.set(name, value)
  }
  const body = gap === -1 ? [] : lines.slice(gap + 1).filter((line) => line !== '')
  const checksum = body.pop() ?? ''
  const sealed = bytesOf(body.join(''))
  if (sealed === undefined || sealed.length === 0)
    throw new KeyError('ARMOR', 'the armor is cut or altered: its body is missing or not base64')
  if (checksum !== `=${crc24(sealed)}`)
    throw new KeyError('ARMOR', 'the armor is cut or altered: its checksum is another one')
  return { headers, sealed }
}

function bytesOf(text: string): Uint8Array | undefined {
  try {
    return unbase64(text)
  } catch {
    return undefined
  }
}

/** OpenPGP's checksum (RFC 4880, section 6.1), three bytes, in base64. */
function crc24(bytes: Uint8Array): string {
  let crc = 0xb704ce
  for (const byte of bytes) {
    crc ^= byte << 16
    for (let bit = 0; bit < 8; bit++) {
      crc <<= 1
      if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb
    }
  }
  return base64(new Uint8Array([crc >> 16, crc >> 8, crc]))
}

/**
 * Takes half a second and, for argon2, 64 MiB.
 * @param passphrase as bytes of UTF-8: `pocketd` does not normalise
 * @throws KeyError IMPORT_PASSPHRASE; KEY_KIND for a key of another curve; ARMOR if it holds no key
 */
export async function openArmor(
  armored: ArmoredKey,
  passphrase: string,
  curve: Curve,
): Promise<SecretKey> {
  const plain =
    armored.kdf === 'argon2'
      ? openChacha(armored, await argon2idAsync(utf8(passphrase), armored.salt, ARGON2))
      : openSecretbox(armored, sha256(utf8(await bcrypt(passphrase, armored.salt, BCRYPT_COST))))
  if (plain === undefined)
    throw new KeyError('IMPORT_PASSPHRASE', 'the passphrase does not open the armored key')
  const prefix = hex(plain.subarray(0, 5))
  if (prefix === AMINO_ED25519)
    throw new KeyError('KEY_KIND', 'the armor holds an ed25519 key, as validators have')
  if (prefix !== AMINO_SECP256K1)
    throw new KeyError('KEY_KIND', 'the armor holds a key that is not of secp256k1')
  const privateKey = new Uint8Array(plain.subarray(5))
  if (!isPrivateKey(privateKey, curve))
    throw new KeyError('ARMOR', 'what the armor holds is not a key')
  return secretKey(privateKey)
}

/** Undefined if the key is another one. */
function openChacha({ sealed }: ArmoredKey, key: Uint8Array): Uint8Array | undefined {
  if (sealed.length < TAG_BYTES) return undefined
  const options = { authTagLength: TAG_BYTES }
  const decipher = createDecipheriv('chacha20-poly1305', key, CHACHA_NONCE, options)
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  const body = decipher.update(sealed.subarray(0, -TAG_BYTES))
  try {
    return concat(body, decipher.final())
  } catch {
    return undefined
  }
}

function openSecretbox({ sealed }: ArmoredKey, key: Uint8Array): Uint8Array | undefined {
  const nonce = sealed.subarray(0, SECRETBOX_NONCE_BYTES)
  try {
    return xsalsa20poly1305(key, nonce).decrypt(sealed.subarray(SECRETBOX_NONCE_BYTES))
  } catch {
    return undefined
  }
}
