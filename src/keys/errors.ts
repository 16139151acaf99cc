/**
 * What can go wrong with the operator's key, with what to do. No message ever holds a part of a key, a
 * mnemonic or a passphrase. Tested by the tests of this folder.
 */
import { SupplierError } from '../base/errors.ts'

export const KEY_ERRORS = {
  MNEMONIC:
    'Not a mnemonic. It is 12, 15, 18, 21 or 24 English words in lower case with one blank between them; the last word is a check on the others, so one wrong word is noticed.',
  HEX: 'Not a private key in hex. It is 64 digits without 0x, of a number from 1 to N-1.',
  ARMOR:
    'Not an armored private key, or cut or altered. Export it again with pocketd keys export NAME, and put the whole text, from BEGIN to END, into a file for --from.',
  KEYRING:
    'Not a keyring that can be read. It is a folder keyring-test or keyring-file of pocketd, with a file NAME.info for each key. From any other backend, and for old entries: pocketd keys export NAME, then --from.',
  KEY_NAME: 'Say with --name which key of the keyring is meant. Capitals matter.',
  KEY_KIND:
    'A supplier signs by itself with a secp256k1 private key that it holds. Make one with pocketd keys add or pokt-supplier keys create, and stake with its address.',
  IMPORT_PASSPHRASE:
    'It is the one that pocketd asked for: at the export, or at the first key of a keyring-file. The passphrase of the new key file is another matter.',
  KEYFILE:
    'The key file is damaged, was altered or is not a key file. Restore it from a backup, or make it again from the mnemonic.',
  KEYFILE_EXISTS:
    'There is a key file already, and it is never overwritten: it may be the only copy. Move it away first, or choose another path.',
  KEYFILE_UNWRITABLE: 'The key file could not be written. Check the folder and its permissions.',
  PASSPHRASE:
    'The passphrase does not open the key file. Check for blanks and for the keyboard layout; nobody can recover it.',
  NO_PASSPHRASE:
    'The key file is encrypted and no passphrase was given. Set passphraseFile, a systemd credential named passphrase (LoadCredential=passphrase:/path) or POKT_SUPPLIER_PASSPHRASE, or start in a terminal to be asked.',
} as const

export class KeyError extends SupplierError<keyof typeof KEY_ERRORS> {}

/** Text from elsewhere, fit for a message: no control characters, nothing that turns the line around. */
export function shown(text: string): string {
  const clean = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
  return clean.length > 64 ? `${clean.slice(0, 64)}…` : clean
}
