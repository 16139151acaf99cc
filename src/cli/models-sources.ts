/**
 * Where models come from, as flags, configuration and environment say, in this order; tokens are read here and
 * shown nowhere. Tests: test/cli/models-settings.ts.
 */
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { readSecretFile } from '../base/files.ts'
import { ollamaFolders } from '../models/ollama-blobs.ts'
import { RESOLVE_DEFAULTS, type ResolveOptions } from '../models/source-resolve.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'
import type { ModelsSettings } from './models-folder.ts'

export interface SourceFlags {
  tokenFile?: string
  endpoint?: string
  registry?: string
  gateway?: string[]
}

export function withSources(command: Command): Command {
  return command
    .option('--token-file <file>', 'holds your token of Hugging Face, for models with a licence')
    .option('--endpoint <url>', 'of Hugging Face, or of a mirror of it')
    .option('--registry <url>', 'of Ollama')
    .option('--gateway <url...>', 'of IPFS, asked in turn')
}

/** @throws CliError USAGE: no address; FILE: no token; BaseError: its file cannot be read */
export async function sourcesOf(
  { environment }: Context,
  { models }: ModelsSettings,
  flags: SourceFlags,
): Promise<ResolveOptions> {
  const { huggingFace } = models
  const endpoint = flags.endpoint ?? huggingFace.endpoint ?? environment.huggingFace.endpoint
  const registry = flags.registry ?? models.ollamaRegistry
  const gateways = flags.gateway ?? models.ipfsGateways
  const tokenFile = flags.tokenFile ?? huggingFace.tokenFile
  const token =
    tokenFile === undefined ? environment.huggingFace.token : await readToken(resolve(tokenFile))
  return {
    ...RESOLVE_DEFAULTS,
    ollamaFolders: ollamaFolders(environment.ollama, homedir()),
    folder: resolve('.'),
    ...(endpoint === undefined ? {} : { endpoint: address(endpoint) }),
    ...(registry === undefined ? {} : { ollamaRegistry: address(registry) }),
    ...(gateways === undefined ? {} : { ipfsGateways: gateways.map(address) }),
    ...(token === undefined || token === '' ? {} : { token: checked(token, 'HF_TOKEN') }),
  }
}

function address(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text
  throw new CliError('USAGE', `${JSON.stringify(text)} is no address: https://… is needed`)
}

async function readToken(path: string): Promise<string> {
  return checked((await readSecretFile(path)).trim(), path)
}

/** Nothing of it is ever shown. */
function checked(token: string, where: string): string {
  if (/^[\x21-\x7e]{1,512}$/.test(token)) return token
  throw new CliError('FILE', `${where} does not hold a token: one line of letters and digits`)
}
