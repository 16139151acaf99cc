/**
 * Where the passphrase of the key file comes from, so that a service can start without a person.
 *
 * Tested by test/keys/passphrase.ts.
 */
import { readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { BaseError } from '../base/errors.ts'
import { readSecretFile } from '../base/files.ts'
import { KeyError } from './errors.ts'

export interface PassphraseSources {
  /** A file with the passphrase and nothing else, mode 600. */
  readonly passphraseFile?: string | undefined
  /** systemd's `CREDENTIALS_DIRECTORY`; the credential is named `passphrase`. */
  readonly credentialsDirectory?: string | undefined
  /** The value of `POKT_SUPPLIER_PASSPHRASE`. */
  readonly environment?: string | undefined
  /** Asks the operator, where there is one. */
  readonly prompt?: (() => Promise<string>) | undefined
}

const CREDENTIAL = 'passphrase'
/** Whoever names a file of another kind by mistake is told so. */
const CHARACTERS_MAX = 4_096

/**
 * The first of: the file, the systemd credential, the environment, the prompt. A file that is named
 * must be there; a credential directory without our credential and an empty variable are passed over.
 * One newline at the end is removed.
 * @throws KeyError NO_PASSPHRASE; BaseError FILE_UNREADABLE, FILE_OPEN_TO_OTHERS
 */
export async function resolvePassphrase(sources: PassphraseSources): Promise<string> {
  const { passphraseFile, credentialsDirectory, environment, prompt } = sources
  if (passphraseFile !== undefined) {
    const isCredential =
      credentialsDirectory !== undefined &&
      dirname(resolve(passphraseFile)) === resolve(credentialsDirectory)
    const text = isCredential
      ? await readCredential(passphraseFile)
      : await readSecretFile(passphraseFile)
    return checked(text, passphraseFile)
  }
  if (credentialsDirectory !== undefined) {
    const path = join(credentialsDirectory, CREDENTIAL)
    if (await exists(path)) return checked(await readCredential(path), path)
  }
  if (environment !== undefined && environment !== '')
    return checked(environment, 'POKT_SUPPLIER_PASSPHRASE')
  if (prompt !== undefined) return checked(await prompt(), 'the answer')
  throw new KeyError('NO_PASSPHRASE', 'no passphrase was given for the key file')
}

function checked(text: string, source: string): string {
  const passphrase = text.replace(/\r?\n$/, '')
  if (passphrase === '') throw new KeyError('NO_PASSPHRASE', `${source} holds no passphrase`)
  if (passphrase.length > CHARACTERS_MAX)
    throw new KeyError('NO_PASSPHRASE', `${source} is too long to be a passphrase`)
  return passphrase
}

/** True also for a credential that this user may not read: it is then reported, not passed over. */
async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT')
  }
}

/**
 * systemd gives mode 400, or 440 with the service's user let in by an access list; the folder is closed
 * to others. So the group's bits say nothing here, and only those of all others are refused.
 */
async function readCredential(path: string): Promise<string> {
  try {
    const { mode } = await stat(path)
    if (process.platform !== 'win32' && (mode & 0o007) !== 0)
      throw new BaseError('FILE_OPEN_TO_OTHERS', `${path} can be read by others`)
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof BaseError) throw cause
    throw new BaseError('FILE_UNREADABLE', `cannot read ${path}`, { cause })
  }
}
