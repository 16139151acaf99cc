/**
 * How a keyring seals one entry: JSON Web Encryption in its compact form, under a passphrase. Read only.
 *
 * PBES2-HS256+A128KW (PBKDF2 makes a key that unwraps another key) and A256GCM, and nothing else that
 * the standard allows. Source: RFC 7516, RFC 7518 section 4.8; dvsekhvalnov/jose2go, which `pocketd`
 * uses. Tested by test/keys/keyring-folder.ts.
 */
import { createDecipheriv, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { z } from 'zod'
import { concat, utf8 } from '../base/bytes.ts'
import { KeyError } from './errors.ts'

const ALGORITHM = 'PBES2-HS256+A128KW'
/** An entry from elsewhere must not take minutes: some 0.5 s. `pocketd` writes 8,192 and reads as many. */
const ITERATIONS_MAX = 1_300_000
const WRAP_IV = new Uint8Array(8).fill(0xa6)
const WRAPPED_BYTES = 40
const NONCE_BYTES = 12
const TAG_BYTES = 16

const HeaderSchema = z.object({
  alg: z.literal(ALGORITHM),
  enc: z.literal('A256GCM'),
  p2c: z.int().min(1).max(ITERATIONS_MAX),
  p2s: z.base64url().min(1).max(1_024),
  /** Compression, and extensions that must be understood: never written by `pocketd`. */
  zip: z.undefined().optional(),
  crit: z.undefined().optional(),
})

/**
 * @param token five parts of base64url with points between them
 * @returns the plain bytes, or undefined if the passphrase is another one
 * @throws KeyError KEYRING if it is no such token, asks for too much work, or was altered
 */
export async function openJwe(token: string, passphrase: string): Promise<Uint8Array | undefined> {
  const parts = token.trim().split('.')
  const isForm = parts.length === 5 && parts.every((part) => /^[A-Za-z0-9_-]*$/.test(part))
  const [head = '', wrapped, nonce, body, tag] = parts
  const header = isForm ? HeaderSchema.safeParse(parseJson(unbase64url(head))).data : undefined
  const sealed = {
    wrapped: unbase64url(wrapped),
    nonce: unbase64url(nonce),
    body: unbase64url(body),
    tag: unbase64url(tag),
  }
  if (
    header === undefined ||
    sealed.wrapped.length !== WRAPPED_BYTES ||
    sealed.nonce.length !== NONCE_BYTES ||
    sealed.tag.length !== TAG_BYTES
  )
    throw new KeyError('KEYRING', 'the entry is not sealed in the way of pocketd')
  const salt = concat(utf8(ALGORITHM), new Uint8Array(1), unbase64url(header.p2s))
  const outer = await promisify(pbkdf2)(utf8(passphrase), salt, header.p2c, 16, 'sha256')
  const key = unwrap(sealed.wrapped, outer)
  if (key === undefined) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.nonce, { authTagLength: TAG_BYTES })
  // The header as it stands in the token is what was sealed with it.
  decipher.setAAD(utf8(head))
  decipher.setAuthTag(sealed.tag)
  const plain = decipher.update(sealed.body)
  try {
    return concat(plain, decipher.final())
  } catch {
    throw new KeyError('KEYRING', 'the entry was altered since it was written')
  }
}

/** RFC 3394. Its check fails for another passphrase, and for a damaged entry. */
function unwrap(wrapped: Uint8Array, outer: Uint8Array): Uint8Array | undefined {
  try {
    const decipher = createDecipheriv('id-aes128-wrap', outer, WRAP_IV)
    return concat(decipher.update(wrapped), decipher.final())
  } catch {
    return undefined
  }
}

function unbase64url(text = ''): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64url'))
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
}
