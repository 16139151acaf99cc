/**
 * Where `pokt-supplier keys import` takes a key from: words, hex, an export or a keyring of `pocketd`.
 * Tests: test/cli/keys-import.ts.
 */
import { stat } from 'node:fs/promises'
import { readSecretFile } from '../base/files.ts'
import { isArmor, openArmor, parseArmor } from '../keys/armor.ts'
import { KeyError } from '../keys/errors.ts'
import { type SecretKey, secretFromHex, secretFromMnemonic } from '../keys/keyring.ts'
import {
  type KeyringFolder,
  openKeyringKey,
  readKeyringFolder,
  requireName,
  told,
} from '../keys/keyring-folder.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'

export interface ImportOptions {
  from?: string
  armorPassphraseFile?: string
  keyring?: string
  name?: string
  keyringPassphraseFile?: string
}

/** Whoever names a file of another kind by mistake is told so before it is read. */
const SECRET_BYTES_MAX = 65_536

/** @throws KeyError, BaseError; CliError USAGE for options that do not belong together */
export async function importedSecret(context: Context, options: ImportOptions): Promise<SecretKey> {
  const { keyring, name, armorPassphraseFile, keyringPassphraseFile } = options
  if (keyring !== undefined) {
    if (armorPassphraseFile !== undefined) throw misplaced('--armor-passphrase-file', 'an export')
    return await secretFromKeyring(context, keyring, name, keyringPassphraseFile)
  }
  if (name !== undefined) throw misplaced('--name', 'a keyring')
  if (keyringPassphraseFile !== undefined) throw misplaced('--keyring-passphrase-file', 'a keyring')
  const text = await secretText(context, options.from)
  if (isArmor(text)) return await secretFromArmor(context, text, armorPassphraseFile)
  if (armorPassphraseFile !== undefined) throw misplaced('--armor-passphrase-file', 'an export')
  return secretFrom(text, context)
}

function misplaced(option: string, source: string): CliError {
  return new CliError('USAGE', `${option} goes with ${source}, which is not what is imported`)
}

async function secretText(context: Context, from: string | undefined): Promise<string> {
  if (from !== undefined) return await readSmallSecret(from)
  if (context.ask === undefined)
    throw new CliError('USAGE', 'nobody can be asked here: add --from or --keyring')
  return await context.ask('Words or private key in hex: ', { hidden: true })
}

async function readSmallSecret(path: string): Promise<string> {
  const size = await stat(path).then(
    (file) => file.size,
    () => 0,
  )
  if (size > SECRET_BYTES_MAX) throw new CliError('FILE', `${path} is too large to hold a key`)
  return await readSecretFile(path)
}

/** Words may stand on several lines; hex may begin with 0x. @throws KeyError MNEMONIC, HEX */
function secretFrom(text: string, { curve }: Context): SecretKey {
  const words = text.trim().split(/\s+/)
  if (words.length > 1) return secretFromMnemonic(words.join(' '))
  return secretFromHex((words[0] ?? '').replace(/^0x/i, ''), curve)
}

async function secretFromArmor(
  context: Context,
  text: string,
  passphraseFile: string | undefined,
): Promise<SecretKey> {
  // What is wrong with the text is told before a passphrase is asked for.
  const armored = parseArmor(text)
  const passphrase = await sourcePassphrase(context, passphraseFile, {
    question: 'Passphrase of the export: ',
    option: '--armor-passphrase-file',
  })
  return await openArmor(armored, passphrase, context.curve)
}

async function secretFromKeyring(
  context: Context,
  path: string,
  named: string | undefined,
  passphraseFile: string | undefined,
): Promise<SecretKey> {
  const folder = await readKeyringFolder(path)
  if (folder.isOpenToOthers)
    context.say(`warning: others can look into ${path}; run: chmod 700 ${path}`)
  const name = named ?? (await chosenName(context, folder))
  requireName(folder, name)
  if (!folder.asksPassphrase) {
    if (passphraseFile !== undefined) throw misplaced('--keyring-passphrase-file', 'a keyring-file')
    return await openKeyringKey(folder, name, undefined, context.curve)
  }
  const passphrase = await sourcePassphrase(context, passphraseFile, {
    question: `Passphrase of ${path}: `,
    option: '--keyring-passphrase-file',
  })
  return await openKeyringKey(folder, name, passphrase, context.curve)
}

async function chosenName({ ask, say }: Context, folder: KeyringFolder): Promise<string> {
  if (ask === undefined)
    throw new KeyError('KEY_NAME', `the keyring has these keys: ${told(folder)}`)
  say(`Keys: ${told(folder)}`)
  return (await ask('Which one? ')).trim()
}

/** `pocketd` takes the blanks off both ends of what is typed, and so must we. */
async function sourcePassphrase(
  { ask }: Context,
  passphraseFile: string | undefined,
  { question, option }: { question: string; option: string },
): Promise<string> {
  if (passphraseFile !== undefined) return (await readSmallSecret(passphraseFile)).trim()
  if (ask === undefined) throw new CliError('USAGE', `nobody can be asked here: add ${option}`)
  return (await ask(question, { hidden: true })).trim()
}
