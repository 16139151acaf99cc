/**
 * The operators' keys, opened: the only place where a passphrase meets a key file.
 * Tests: test/cli/stake.ts.
 */
import { readSecretFile } from '../base/files.ts'
import type { Config } from '../config/schema.ts'
import { readKeyfile } from '../keys/keyfile.ts'
import { type Signer, signerOf } from '../keys/keyring.ts'
import { resolvePassphrase } from '../keys/passphrase.ts'
import type { Context } from './context.ts'

/** @throws KeyError, BaseError */
export async function openSigners(context: Context, config: Config): Promise<Signer[]> {
  const signers: Signer[] = []
  for (const { keyFile, passphraseFile } of config.operators) {
    signers.push(await openSigner(context, keyFile, passphraseFile))
  }
  return signers
}

export async function openSigner(
  context: Context,
  keyFile: string,
  passphraseFile: string | undefined,
): Promise<Signer> {
  // A file that is not there is told before a passphrase is asked for.
  await readSecretFile(keyFile)
  const passphrase = await passphraseFor(context, keyFile, passphraseFile)
  return signerOf(await readKeyfile(keyFile, passphrase), context.curve)
}

export async function passphraseFor(
  { ask, environment }: Context,
  keyFile: string,
  passphraseFile: string | undefined,
): Promise<string> {
  return await resolvePassphrase({
    passphraseFile,
    credentialsDirectory: environment.credentialsDirectory,
    environment: environment.passphrase,
    prompt:
      ask === undefined ? undefined : () => ask(`Passphrase of ${keyFile}: `, { hidden: true }),
  })
}

/** `work` for each operator in turn; with `json` what was done is printed, also before a failure. */
export async function eachOperator(
  context: Context,
  config: Config,
  options: { readonly json?: boolean },
  work: (signer: Signer) => Promise<unknown>,
): Promise<void> {
  const results: unknown[] = []
  try {
    for (const signer of await openSigners(context, config)) results.push(await work(signer))
  } finally {
    if (options.json === true) context.print(JSON.stringify({ suppliers: results }, null, 2))
  }
}
