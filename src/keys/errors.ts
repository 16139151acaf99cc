/**
 * What can go wrong with the operator's key, with what to do. No message ever holds a part of a key, a
 * mnemonic or a passphrase. Tested by the tests of this folder.
 */
import { SupplierError } from '../base/errors.ts'

export const KEY_ERRORS = {
  MNEMONIC:
    'Not a mnemonic. It is 12, 15, 18, 21 or 24 English words in lower case with one blank between them; the last word is a check on the others, so one wrong word is noticed.',
  HEX: 'Not a private key in hex. It is 64 digits without 0x, of a number from 1 to N-1.',
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
