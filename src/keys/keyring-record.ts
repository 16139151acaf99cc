/**
 * What an entry of `pocketd`'s keyring holds, once it is open: JSON around a protobuf record.
 *
 * Entries that were made before cosmos-sdk v0.46 are amino; `pocketd keys migrate` writes them anew.
 * Source: 99designs/keyring keyring.go, cosmos-sdk cosmos/crypto/keyring/v1/record.proto.
 * Tested by test/keys/keyring-folder.ts.
 */
import { z } from 'zod'
import { equal, unbase64 } from '../base/bytes.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import { Reader } from '../protocol/wire.ts'
import { KeyError, shown } from './errors.ts'
import { isPrivateKey, type SecretKey, secretKey } from './keyring.ts'

const PRIVATE_KEY_TYPE = '/cosmos.crypto.secp256k1.PrivKey'

const ItemSchema = z.object({ Key: z.string(), Data: z.base64() })

/** A google.protobuf.Any. */
interface Packed {
  readonly type: string
  readonly value: Uint8Array
}

/** Whose private key is elsewhere, by the field of the record that says so. */
const KEYLESS: Readonly<Record<number, string>> = {
  4: 'is on a Ledger device',
  5: 'is of a multisig: there are several',
  6: 'is offline: only the public one was added',
}

/**
 * @param plain the opened entry
 * @param name of the key, without `.info`
 * @throws KeyError KEY_KIND for an entry without a secp256k1 private key, KEYRING for anything else
 */
export function readEntry(plain: Uint8Array, name: string, curve: Curve): SecretKey {
  const item = ItemSchema.safeParse(parseJson(plain)).data
  const record = item === undefined ? undefined : readRecord(unbase64(item.Data))
  if (record === undefined)
    throw new KeyError(
      'KEYRING',
      `the entry ${shown(name)} is not a record: it may be of an old form, which pocketd keys migrate brings up to date`,
    )
  if (item?.Key !== `${name}.info` || record.name !== name)
    throw new KeyError('KEYRING', `the entry ${shown(name)} is that of ${shown(record.name)}`)
  if (record.keyless !== undefined)
    throw new KeyError('KEY_KIND', `the private key of ${shown(name)} ${record.keyless}`)
  return secretOf(record, curve)
}

interface KeyringRecord {
  readonly name: string
  readonly publicKey: Packed
  /** Undefined if `keyless` says why. */
  readonly privateKey: Packed | undefined
  readonly keyless: string | undefined
}

function secretOf({ name, publicKey, privateKey }: KeyringRecord, curve: Curve): SecretKey {
  if (privateKey?.type !== PRIVATE_KEY_TYPE)
    throw new KeyError(
      'KEY_KIND',
      `the key of ${shown(name)} is ${shown(privateKey?.type ?? '')}, not secp256k1`,
    )
  const key = keyOf(privateKey)
  if (!isPrivateKey(key, curve))
    throw new KeyError('KEYRING', `what the entry ${shown(name)} holds is not a key`)
  if (!equal(curve.publicKey(key), keyOf(publicKey)))
    throw new KeyError('KEYRING', `the entry ${shown(name)} shows one key and holds another`)
  return secretKey(key)
}

/** Undefined for bytes that are not a record with one kind of key. */
function readRecord(bytes: Uint8Array): KeyringRecord | undefined {
  let name = ''
  let publicKey: Packed = { type: '', value: new Uint8Array() }
  let privateKey: Packed | undefined
  let keyless: string | undefined
  try {
    const reader = new Reader(bytes)
    for (const tag of reader) {
      if (tag.field === 1) name = reader.string(tag)
      else if (tag.field === 2) publicKey = readPacked(reader.message(tag))
      else if (tag.field === 3) privateKey = readPacked(new Reader(readFirst(reader.message(tag))))
      else {
        keyless = KEYLESS[tag.field] ?? keyless
        reader.skip(tag)
      }
    }
  } catch {
    return undefined
  }
  const isOne = (privateKey === undefined) !== (keyless === undefined)
  return isOne ? { name, publicKey, privateKey, keyless } : undefined
}

function readPacked(reader: Reader): Packed {
  let type = ''
  let value: Uint8Array = new Uint8Array()
  for (const tag of reader) {
    if (tag.field === 1) type = reader.string(tag)
    else if (tag.field === 2) value = reader.bytes(tag)
    else reader.skip(tag)
  }
  return { type, value }
}

/** The message of a key has one field, its bytes. Empty for anything else. */
function keyOf({ value }: Packed): Uint8Array {
  try {
    return readFirst(new Reader(value))
  } catch {
    return new Uint8Array()
  }
}

/** The bytes of the first field. */
function readFirst(reader: Reader): Uint8Array {
  let first: Uint8Array = new Uint8Array()
  for (const tag of reader) {
    if (tag.field === 1) first = reader.bytes(tag)
    else reader.skip(tag)
  }
  return first
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
}
