/** `pokt-supplier models add`: what would be fetched is shown and asked first. Tests: test/cli/models.ts. */

import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { Command } from 'commander'
import { readSecretFile } from '../base/files.ts'
import { Digests } from '../models/digest.ts'
import { bytesText, systemDisk } from '../models/disk.ts'
import { Http } from '../models/http.ts'
import { ollamaFolders } from '../models/ollama-blobs.ts'
import { pull } from '../models/pull.ts'
import { bytesOf, type Resolved } from '../models/resolved.ts'
import { parseSha256, parseSource } from '../models/source.ts'
import { RESOLVE_DEFAULTS, type ResolveOptions, resolveSource } from '../models/source-resolve.ts'
import { type Context, confirm } from './context.ts'
import { CliError } from './errors.ts'
import {
  dataFolderOf,
  libraryOf,
  type ModelsDeps,
  type ModelsOptions,
  withFolder,
} from './models-folder.ts'
import { ProgressLine, rate } from './models-progress.ts'

interface AddOptions extends ModelsOptions {
  name?: string
  sha256?: string
  unverified?: boolean
  update?: boolean
  bandwidth?: number
  tokenFile?: string
  endpoint?: string
  registry?: string
  gateway?: string[]
  yes?: boolean
}

/** More is not fetched unasked. */
const ASK_FROM = 100 * 1024 * 1024

export function addCommand(context: Context, deps: ModelsDeps): Command {
  return withFolder(new Command('add'))
    .description('fetch a model, or take one that is on this machine')
    .argument('<model>', 'a name of the catalogue, or a source: see below')
    .option('--name <name>', 'what to call it; by default by its file')
    .option('--sha256 <hex>', 'what the file must be')
    .option('--unverified', 'take what nobody says the digest of; it is pinned then')
    .option('--update', 'take what the source has now, though another one was pinned')
    .option('--bandwidth <rate>', 'at most so much per second, such as 10MB', rate)
    .option('--token-file <file>', 'holds your token of Hugging Face, for models with a licence')
    .option('--endpoint <url>', 'of Hugging Face, or of a mirror of it')
    .option('--registry <url>', 'of Ollama')
    .option('--gateway <url...>', 'of IPFS, asked in turn')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
Sources:
  hf:OWNER/REPO/FILE.gguf[@REVISION]   a file of Hugging Face
  hf:OWNER/REPO:Q4_K_M                 what is there in this quantisation
  ollama:NAME[:TAG]                    from the Ollama here, in place, or its registry
  https://…/x.gguf#sha256=HEX          any server
  ipfs:CID[/PATH]                      through gateways
  ./x.gguf                             a file, used where it lies

Example:
  pokt-supplier models add hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M`,
    )
    .action((model: string, options: AddOptions) => add(context, deps, model, options))
}

async function add(
  context: Context,
  deps: ModelsDeps,
  model: string,
  options: AddOptions,
): Promise<void> {
  const { clock, random, signal } = context
  const dataFolder = await dataFolderOf(context, options)
  const library = libraryOf(context, dataFolder)
  await using http = new Http({ clock })
  const known = deps.catalog(model)
  const source = parseSource(known ?? model)
  const asked = await resolveOptions(context, options, known === undefined ? undefined : model)
  const found = await resolveSource(http, source, asked, signal)
  const update = options.update === true
  const resolved = await library.pinned(found, { update })
  await askFirst(context, resolved, library.path, options)
  const line = new ProgressLine({ say: context.say, redraw: deps.redraw }, resolved.name)
  const digests = new Digests({ cacheFile: join(dataFolder, 'digests.json') })
  const pulling = { clock, random, http, disk: systemDisk, digests }
  try {
    await using pulled = await pull(
      pulling,
      library.path,
      resolved,
      {
        unverified: options.unverified === true,
        ...(options.bandwidth === undefined ? {} : { bytesPerSecond: options.bandwidth }),
        onProgress: (progress) => line.show(progress),
        onNotice: (text) => {
          line.clear()
          context.say(text)
        },
      },
      signal,
    )
    const added = await library.add(resolved, pulled, { signal, update })
    line.clear()
    const path = await library.pathOf(resolved.name)
    if (options.json === true)
      context.print(JSON.stringify({ name: resolved.name, path, ...added }, null, 2))
    else context.print(`${resolved.name} is here: ${path}`)
  } catch (error) {
    line.clear()
    throw error
  }
}

async function resolveOptions(
  { environment }: Context,
  options: AddOptions,
  known: string | undefined,
): Promise<ResolveOptions> {
  const { endpoint, registry, gateway, sha256, tokenFile } = options
  const name = options.name ?? known
  return {
    ...RESOLVE_DEFAULTS,
    ollamaFolders: ollamaFolders(environment.ollama, homedir()),
    folder: resolve('.'),
    ...(endpoint === undefined ? {} : { endpoint: address(endpoint) }),
    ...(registry === undefined ? {} : { ollamaRegistry: address(registry) }),
    ...(gateway === undefined ? {} : { ipfsGateways: gateway.map(address) }),
    ...(sha256 === undefined ? {} : { sha256: parseSha256(sha256) }),
    ...(name === undefined ? {} : { name }),
    ...(tokenFile === undefined ? {} : { token: await readToken(tokenFile) }),
  }
}

function address(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text
  throw new CliError('USAGE', `${JSON.stringify(text)} is no address: https://… is needed`)
}

/** Nothing of it is ever shown. */
async function readToken(path: string): Promise<string> {
  const token = (await readSecretFile(resolve(path))).trim()
  if (/^[\x21-\x7e]{1,512}$/.test(token)) return token
  throw new CliError('FILE', `${path} does not hold a token: one line of letters and digits`)
}

async function askFirst(
  context: Context,
  resolved: Resolved,
  models: string,
  { yes = false, json = false }: AddOptions,
): Promise<void> {
  const { files, name, source, license } = resolved
  const fetched = bytesOf({ files: files.filter(({ place }) => place === undefined) })
  if (!json) {
    context.say(`${name} from ${source}`)
    for (const { fileName, bytes, place } of files) {
      const where = place === undefined ? '' : `, used in place: ${place}`
      context.say(`  ${fileName}  ${bytesText(bytes)}${where}`)
    }
    context.say(`  licence: ${license ?? 'not said; look at the source'}`)
    if (fetched > 0) {
      const free = await systemDisk.free(await existing(models))
      context.say(`  ${bytesText(fetched)} to fetch, ${bytesText(free)} free on this disk`)
    }
  }
  if (fetched > ASK_FROM) await confirm(context, `Fetch ${bytesText(fetched)}?`, yes)
}

/** The nearest folder that is there: what is free beside it is free for what will be in it. */
async function existing(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  return found === undefined && dirname(path) !== path ? await existing(dirname(path)) : path
}
