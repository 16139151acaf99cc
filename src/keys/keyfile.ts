/**
 * The key file: the operator's private key and, if there is one, its mnemonic, under a passphrase.
 *
 * JSON. scrypt makes a key from the passphrase, AES-256-GCM seals the secret and binds everything that
 * stands in clear (the address, the parameters) to it. GCM alone cannot tell a wrong passphrase from a
 * damaged file, and an operator must know which it is, so a plain checksum covers the file as well.
 * The parameters stand in the file: later versions may raise the default and still open old files.
 * Tested by test/keys/keyfile.ts.
 */
import {
  createCipheriv,
  createDecipheriv,
  type ScryptOptions,
  scrypt as scryptCallback,
} from 'node:crypto'
import { link, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import {
  base64,
  concat,
  equalConstantTime,
  hex,
  sha256,
  unbase64,
  unhex,
  utf8,
} from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import { readSecretFile, syncDirectory, writeFileAtomic } from '../base/files.ts'
import { loadCurve } from '../crypto/secp256k1.ts'
import { KeyError } from './errors.ts'
import { isPrivateKey, type SecretKey, secretKey, signerOf } from './keyring.ts'

/** What scrypt costs: 128 · n · r bytes of memory, and time in proportion to n · r · p. */
export interface ScryptCost {
  /** A power of two. */
  readonly n: number
  readonly r: number
  readonly p: number
}

/** 128 MiB and about half a second. */
export const KEYFILE_DEFAULTS = { n: 2 ** 17, r: 8, p: 1 } satisfies ScryptCost

export interface KeyfileDeps {
  /** From a source fit for keys: the salt and the nonce must never come twice. */
  randomBytes(n: number): Uint8Array
}

const SALT_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** A sealed mnemonic of 24 long words takes below 400 bytes. */
const FILE_CHARACTERS_MAX = 8_192
/** A file from elsewhere must not take the machine's memory or an hour before it is refused. */
const COST_BYTES_MAX = 1024 ** 3

const digits = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`))

const KeyfileSchema = z.strictObject({
  format: z.literal('pokt-supplier key'),
  version: z.literal(1),
  address: z.string().max(100),
  kdf: z.strictObject({
    name: z.literal('scrypt'),
    n: z.int().min(2 ** 10),
    r: z.int().min(1),
    p: z.int().min(1),
    salt: digits(SALT_BYTES),
  }),
  cipher: z.strictObject({ name: z.literal('aes-256-gcm'), nonce: digits(NONCE_BYTES) }),
  /** The encrypted secret, then the tag of 16 bytes; base64. */
  sealed: z.base64(),
  /** SHA-256 of all that is above. */
  checksum: digits(32),
})
type Keyfile = z.infer<typeof KeyfileSchema>
type Header = Omit<Keyfile, 'sealed' | 'checksum'>

/** What is sealed. */
const SecretSchema = z.strictObject({ privateKey: digits(32), mnemonic: z.string().optional() })

/**
 * The text of a key file.
 * @throws KeyError NO_PASSPHRASE for an empty one
 */
export async function sealKey(
  secret: SecretKey,
  passphrase: string,
  deps: KeyfileDeps,
  cost: ScryptCost = KEYFILE_DEFAULTS,
): Promise<string> {
  if (passphrase === '') throw new KeyError('NO_PASSPHRASE', 'a key file needs a passphrase')
  const { n, r, p } = cost
  assert(isAffordable(cost), 'the key file could not be opened again')
  const salt = deps.randomBytes(SALT_BYTES)
  const nonce = deps.randomBytes(NONCE_BYTES)
  const header: Header = {
    format: 'pokt-supplier key',
    version: 1,
    address: signerOf(secret, loadCurve()).address,
    kdf: { name: 'scrypt', n, r, p, salt: hex(salt) },
    cipher: { name: 'aes-256-gcm', nonce: hex(nonce) },
  }
  const plain = { privateKey: hex(secret.privateKey), mnemonic: secret.mnemonic }
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, header), nonce)
  cipher.setAAD(headerBytes(header))
  const body = concat(cipher.update(JSON.stringify(plain), 'utf8'), cipher.final())
  const sealed = concat(body, cipher.getAuthTag())
  const file: Keyfile = { ...header, sealed: base64(sealed), checksum: checksum(header, sealed) }
  return `${JSON.stringify(file, null, 2)}\n`
}

/**
 * @throws KeyError PASSPHRASE if it is another one; KEYFILE if the text is no key file, was damaged or
 *   altered, asks for more than 1 GiB of memory, or holds the key of another address than it says
 */
export async function openKey(text: string, passphrase: string): Promise<SecretKey> {
  const file = parseKeyfile(text)
  const sealed = unbase64(file.sealed)
  // base64 has spare bits at its end: only one text is taken for the same bytes.
  const isWhole = sealed.length > TAG_BYTES && base64(sealed) === file.sealed
  if (!isWhole || checksum(file, sealed) !== file.checksum)
    throw new KeyError('KEYFILE', 'the key file is damaged: its checksum is another one')
  const key = await deriveKey(passphrase, file)
  const decipher = createDecipheriv('aes-256-gcm', key, unhex(file.cipher.nonce))
  decipher.setAAD(headerBytes(file))
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  const body = decipher.update(sealed.subarray(0, -TAG_BYTES))
  try {
    decipher.final()
  } catch {
    throw new KeyError('PASSPHRASE', `the passphrase does not open the key of ${file.address}`)
  }
  return readSecret(body.toString('utf8'), file.address)
}

function parseKeyfile(text: string): Keyfile {
  const parsed =
    text.length > FILE_CHARACTERS_MAX ? undefined : KeyfileSchema.safeParse(parseJson(text)).data
  if (parsed === undefined) throw new KeyError('KEYFILE', 'this is not a key file')
  if (!isAffordable(parsed.kdf))
    throw new KeyError('KEYFILE', 'the key file asks for more memory than a key file may')
  return parsed
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isAffordable({ n, r, p }: ScryptCost): boolean {
  return Number.isInteger(Math.log2(n)) && 128 * n * r * p <= COST_BYTES_MAX
}

function readSecret(text: string, address: string): SecretKey {
  const plain = SecretSchema.safeParse(parseJson(text)).data
  const privateKey = unhex(plain?.privateKey ?? '')
  const curve = loadCurve()
  if (plain === undefined || !isPrivateKey(privateKey, curve))
    throw new KeyError('KEYFILE', 'what the key file holds is not a key')
  const secret = secretKey(privateKey, plain.mnemonic)
  if (signerOf(secret, curve).address !== address)
    throw new KeyError(
      'KEYFILE',
      `the key file says ${address} and holds the key of another address`,
    )
  return secret
}

/** 32 bytes. The passphrase is normalised: keyboards differ in how they compose one letter. */
async function deriveKey(passphrase: string, { kdf }: Header): Promise<Uint8Array> {
  const { n, r, p } = kdf
  const scrypt = promisify<string, Uint8Array, number, ScryptOptions, Buffer>(scryptCallback)
  const maxmem = 128 * r * (n + p + 8)
  return scrypt(passphrase.normalize('NFKC'), unhex(kdf.salt), 32, { N: n, r, p, maxmem })
}

/** One form for one header, whatever the order and the blanks in the file. */
function headerBytes({ format, version, address, kdf, cipher }: Header): Uint8Array {
  const { name, n, r, p, salt } = kdf
  return utf8(
    JSON.stringify([format, version, address, name, n, r, p, salt, cipher.name, cipher.nonce]),
  )
}

function checksum(header: Header, sealed: Uint8Array): string {
  return hex(sha256(concat(headerBytes(header), sealed)))
}

/**
 * Opens the key file at `path`.
 * @throws BaseError FILE_UNREADABLE, FILE_OPEN_TO_OTHERS; KeyError as `openKey`
 */
export async function readKeyfile(path: string, passphrase: string): Promise<SecretKey> {
  return openKey(await readSecretFile(path), passphrase)
}

/**
 * Writes a key file that only its owner may read, whole or not at all, and opens it once to be sure.
 * @throws KeyError KEYFILE_EXISTS (nothing is ever overwritten), KEYFILE_UNWRITABLE, NO_PASSPHRASE
 */
export async function writeKeyfile(
  path: string,
  secret: SecretKey,
  passphrase: string,
  deps: KeyfileDeps,
  cost: ScryptCost = KEYFILE_DEFAULTS,
): Promise<void> {
  const text = await sealKey(secret, passphrase, deps, cost)
  const opened = await openKey(text, passphrase)
  assert(equalConstantTime(opened.privateKey, secret.privateKey), 'a sealed key opens to itself')
  const fresh = `${path}.${hex(deps.randomBytes(4))}.new`
  try {
    await writeFileAtomic(fresh, text, 0o600)
    // A link, unlike a rename, fails where there is a file already, also one made a moment ago.
    await link(fresh, path)
    await syncDirectory(dirname(path))
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')
      throw new KeyError('KEYFILE_EXISTS', `${path} exists and is left as it is`)
    throw new KeyError('KEYFILE_UNWRITABLE', `cannot write the key file ${path}`, { cause })
  } finally {
    await rm(fresh, { force: true })
  }
}
