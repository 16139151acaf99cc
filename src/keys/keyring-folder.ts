/**
 * The keyring of `pocketd` on disk: a folder with a sealed file NAME.info for each key. Read only.
 *
 * Two backends write one. `keyring-test` stands under a passphrase that everybody knows; `keyring-file`
 * under one that the operator chose, whose bcrypt hash is in the file `keyhash`. A name is only ever
 * looked for among the files that are there, and never becomes a path.
 * Source: cosmos-sdk v0.53 crypto/keyring, 99designs/keyring file.go. Tested by test/keys/keyring-folder.ts.
 */
import { opendir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { Curve } from '../crypto/secp256k1.ts'
import { bcryptMatches } from './bcrypt.ts'
import { KeyError, shown } from './errors.ts'
import { openJwe } from './jwe.ts'
import type { SecretKey } from './keyring.ts'
import { readEntry } from './keyring-record.ts'

/** Two files for each key. Who has more has named another folder. */
const FILES_MAX = 5_000
/** A private key takes 800 bytes, a multisig of many members a few thousand. */
const ENTRY_BYTES_MAX = 65_536
const SUFFIX = '.info'
const KEYHASH = 'keyhash'
const TEST_PASSPHRASE = 'test'

export interface KeyringFolder {
  readonly path: string
  /** Of the keys, sorted; of whatever kind. */
  readonly names: readonly string[]
  /** False for the backend `test`. */
  readonly asksPassphrase: boolean
  /** The folder is not its owner's alone. */
  readonly isOpenToOthers: boolean
}

/**
 * Looks at the names of the files, and at nothing in them.
 * @throws KeyError KEYRING if it cannot be read, holds no key or is no keyring
 */
export async function readKeyringFolder(path: string): Promise<KeyringFolder> {
  const files = await filesOf(path)
  const names = files.filter((file) => file.endsWith(SUFFIX)).map(nameOf)
  if (names.length === 0) {
    const inside = files.filter((file) => file === 'keyring-test' || file === 'keyring-file')
    const hint = inside.map((file) => join(path, file)).join(' or ')
    throw new KeyError('KEYRING', `${path} holds no keys${hint === '' ? '' : `; name ${hint}`}`)
  }
  const { mode } = await stat(path)
  return {
    path,
    names: names.sort(),
    asksPassphrase: files.includes(KEYHASH) || basename(resolve(path)) === 'keyring-file',
    isOpenToOthers: process.platform !== 'win32' && (mode & 0o077) !== 0,
  }
}

/**
 * @param name one of the folder's
 * @param passphrase left out where the folder asks for none
 * @throws KeyError KEY_NAME, IMPORT_PASSPHRASE; KEY_KIND for a ledger, offline or multisig entry, or
 *   another curve; KEYRING for a damaged one
 */
export async function openKeyringKey(
  folder: KeyringFolder,
  name: string,
  passphrase: string | undefined,
  curve: Curve,
): Promise<SecretKey> {
  requireName(folder, name)
  const token = await readEntryFile(folder, fileOf(name))
  const plain = await openJwe(token, passphrase ?? TEST_PASSPHRASE)
  if (plain === undefined) throw await notOpened(folder, name, passphrase)
  return readEntry(plain, name, curve)
}

/** Before a passphrase is asked for. @throws KeyError KEY_NAME */
export function requireName(folder: KeyringFolder, name: string): void {
  if (!folder.names.includes(name))
    throw new KeyError('KEY_NAME', `no ${shown(name)} among the keys: ${told(folder)}`)
}

/** The names, as a message lists them. */
export function told({ names }: KeyringFolder): string {
  const some = names.slice(0, 20).map(shown).join(', ')
  return names.length > 20 ? `${some} and ${names.length - 20} more` : some
}

async function filesOf(path: string): Promise<string[]> {
  const files: string[] = []
  try {
    // Leaving the loop closes the folder.
    for await (const { name } of await opendir(path)) {
      files.push(name)
      if (files.length > FILES_MAX) throw new KeyError('KEYRING', `${path} holds too many files`)
    }
  } catch (cause) {
    if (cause instanceof KeyError) throw cause
    throw new KeyError('KEYRING', `cannot read the folder ${path}`, { cause })
  }
  return files
}

/** `/` and `%` in a name are escaped in the file's; a file that is named otherwise opens under no name. */
function fileOf(name: string): string {
  return `${name.replaceAll('%', '%25').replaceAll('/', '%2F')}${SUFFIX}`
}

function nameOf(file: string): string {
  const name = file.slice(0, -SUFFIX.length)
  return name.replaceAll('%2F', '/').replaceAll('%25', '%')
}

async function readEntryFile(folder: KeyringFolder, name: string): Promise<string> {
  const path = join(folder.path, name)
  try {
    // A pipe might never end.
    const file = await stat(path)
    if (!file.isFile() || file.size > ENTRY_BYTES_MAX)
      throw new KeyError('KEYRING', `the file ${shown(name)} is too large for an entry, or no file`)
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof KeyError) throw cause
    throw new KeyError('KEYRING', `cannot read the file ${shown(name)}`, { cause })
  }
}

/** The seal cannot tell a wrong passphrase from a damaged entry; the hash beside it can. */
async function notOpened(
  folder: KeyringFolder,
  name: string,
  passphrase: string | undefined,
): Promise<KeyError> {
  if (passphrase === undefined)
    return new KeyError(
      'KEYRING',
      `the entry ${shown(name)} does not open as one of the backend test; if it is of the backend file, the file ${KEYHASH} is missing beside it`,
    )
  const hash = await readEntryFile(folder, KEYHASH).catch(() => '')
  return (await bcryptMatches(hash.trim(), passphrase))
    ? new KeyError('KEYRING', `the entry ${shown(name)} is damaged: the passphrase is right`)
    : new KeyError('IMPORT_PASSPHRASE', `the passphrase does not open ${folder.path}`)
}
