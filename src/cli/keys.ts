/** `pokt-supplier keys`: make, import and show key files. Secrets are never arguments. Tests: test/cli/keys.ts. */
import { access } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { readSecretFile } from '../base/files.ts'
import { KeyError } from '../keys/errors.ts'
import { readKeyfile, writeKeyfile } from '../keys/keyfile.ts'
import { createMnemonic, type SecretKey, secretFromMnemonic, signerOf } from '../keys/keyring.ts'
import { type Context, confirm, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { type ImportOptions, importedSecret } from './keys-import.ts'
import { passphraseFor } from './signers.ts'

interface Options {
  passphraseFile?: string
  json?: boolean
}

const FILE = 'passphrase from this file, else systemd, POKT_SUPPLIER_PASSPHRASE, or a prompt'

export function keysCommand(context: Context): Command {
  return new Command('keys')
    .description('make, import and show encrypted key files')
    .addCommand(createCommand(context))
    .addCommand(importCommand(context))
    .addCommand(showCommand(context))
    .addHelpText('after', EXIT_HELP)
}

function createCommand(context: Context): Command {
  return new Command('create')
    .description('make a new key of 24 words and write it, encrypted, to a file')
    .argument('<file>', 'the key file; it must not exist yet')
    .option('--passphrase-file <file>', FILE)
    .option('--json', 'one JSON object instead of text; without the words')
    .addHelpText(
      'after',
      '\nThe words are shown on a terminal only.\n\nExample:\n  pokt-supplier keys create operator.json',
    )
    .action(async (file: string, options: Options) => {
      await refuseExisting(file)
      const secret = secretFromMnemonic(createMnemonic(context.randomBytes(32)))
      await save(context, file, secret, options)
      if (options.json === true) return
      if (context.ask === undefined) {
        // Nobody reads this but a log, which must not hold them.
        context.say(`To see the 24 words: pokt-supplier keys show ${file} --secret`)
        return
      }
      context.say(
        'Write these words down and keep them away from this machine. Who has them has the money:\n',
      )
      context.say(`  ${secret.mnemonic ?? ''}\n`)
    })
}

function importCommand(context: Context): Command {
  return new Command('import')
    .description(
      'take a key from words, hex, an export or a keyring of pocketd; write it, encrypted',
    )
    .argument('<file>', 'the key file; it must not exist yet')
    .option(
      '--from <file>',
      'a file (mode 600) with words, 64 hex digits or an export; else a prompt',
    )
    .option('--armor-passphrase-file <file>', 'passphrase of the export; else a prompt')
    .addOption(new Option('--keyring <folder>', 'a keyring folder of pocketd').conflicts('from'))
    .option('--name <name>', 'the key of the keyring')
    .option('--keyring-passphrase-file <file>', 'passphrase of a keyring-file; else a prompt')
    .option('--passphrase-file <file>', `of the new file: ${FILE}`)
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
What is imported stays as it is. An export is what \`pocketd keys export NAME\` prints, from BEGIN
to END: pocketd keys export NAME > key.armor; chmod 600 key.armor. A keyring is the folder
keyring-test or keyring-file of pocketd; from its other backends, export the key first.

Examples:
  pokt-supplier keys import operator.json --from words.txt
  pokt-supplier keys import operator.json --from key.armor
  pokt-supplier keys import operator.json --keyring ~/.pocket/keyring-test --name supplier1`,
    )
    .action(async (file: string, options: Options & ImportOptions) => {
      await refuseExisting(file)
      await save(context, file, await importedSecret(context, options), options)
    })
}

function showCommand(context: Context): Command {
  return new Command('show')
    .description('show the address and the public key of a key file, or its secret')
    .argument('<file>', 'the key file')
    .option('--passphrase-file <file>', FILE)
    .option('--secret', 'the words or the private key too, after a question')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', '\nExample:\n  pokt-supplier keys show operator.json')
    .action(async (file: string, options: Options & { secret?: boolean; yes?: boolean }) => {
      // A file that is not there is told before a passphrase is asked for.
      await readSecretFile(file)
      const passphrase = await passphraseFor(context, file, options.passphraseFile)
      const secret = await readKeyfile(file, passphrase)
      if (options.secret === true)
        await confirm(context, 'This shows the secret on the screen. Go on?', options.yes === true)
      show(context, secret, options, options.secret === true)
    })
}

/** Before anything is asked: `writeKeyfile` makes sure of it at the end. @throws KeyError KEYFILE_EXISTS */
async function refuseExisting(file: string): Promise<void> {
  const isThere = await access(file).then(
    () => true,
    () => false,
  )
  if (isThere) throw new KeyError('KEYFILE_EXISTS', `${file} exists and is left as it is`)
}

async function save(
  context: Context,
  file: string,
  secret: SecretKey,
  options: Options,
): Promise<void> {
  const passphrase = await newPassphrase(context, file, options.passphraseFile)
  await writeKeyfile(file, secret, passphrase, context, context.keyCost)
  show(context, secret, options, false)
}

/** One that is typed is typed twice. */
async function newPassphrase(
  context: Context,
  file: string,
  passphraseFile: string | undefined,
): Promise<string> {
  const { ask } = context
  let typed = false
  const watching: Context['ask'] =
    ask === undefined
      ? undefined
      : async (question, options) => {
          typed = true
          return await ask(question, options)
        }
  const first = await passphraseFor({ ...context, ask: watching }, file, passphraseFile)
  if (typed && (await ask?.('The same passphrase again: ', { hidden: true })) !== first)
    throw new CliError('ANSWER', 'the two passphrases differ')
  return first
}

function show(context: Context, secret: SecretKey, options: Options, withSecret: boolean): void {
  const { address, publicKey } = signerOf(secret, context.curve)
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const data = {
    address,
    publicKey: hex(publicKey),
    ...(withSecret
      ? { mnemonic: secret.mnemonic ?? null, privateKey: hex(secret.privateKey) }
      : {}),
  }
  if (options.json === true) context.print(JSON.stringify(data, null, 2))
  else
    for (const [name, value] of Object.entries(data))
      if (value !== null) context.print(`${name.padEnd(11)} ${value}`)
}
