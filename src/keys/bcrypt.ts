/**
 * bcrypt, for reading what `pocketd` sealed. Nothing of ours is sealed with it.
 *
 * `pocketd` uses it with a salt that is given, and over the bytes of a passphrase, so the library's text
 * form is put together here. Tested by test/keys/armor.ts.
 */
import { compare, encodeBase64, hash } from 'bcryptjs'
import { assert } from '../base/errors.ts'

const SALT_BYTES = 16
const FORM = /^\$2a\$(\d\d)\$[./A-Za-z0-9]{53}$/
/** A file from elsewhere must not take minutes. `pocketd` writes 10 and 12; each step doubles the time. */
const COST_MAX = 14

/**
 * Half a second at cost 12.
 * @param password only its first 72 bytes count
 * @param salt 16 bytes
 * @param cost 4 to 14: 2^cost rounds
 * @returns 60 characters, `$2a$`, cost, salt and hash
 */
export async function bcrypt(password: string, salt: Uint8Array, cost: number): Promise<string> {
  assert(salt.length === SALT_BYTES, 'bcrypt takes a salt of 16 bytes')
  assert(Number.isInteger(cost) && cost >= 4 && cost <= COST_MAX, 'bcrypt takes a cost of 4 to 14')
  const encoded = encodeBase64([...salt], SALT_BYTES)
  return await hash(password, `$2a$${String(cost).padStart(2, '0')}$${encoded}`)
}

/** False also for a text that is no bcrypt hash, or one that would take too long. */
export async function bcryptMatches(text: string, password: string): Promise<boolean> {
  const [, cost = ''] = FORM.exec(text) ?? []
  if (Number(cost) < 4 || Number(cost) > COST_MAX) return false
  return await compare(password, text)
}
