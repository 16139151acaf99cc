/**
 * `pokt-supplier models add`: what would be fetched, under which licence and whether it fits is shown first, and
 * asked. Tests: test/cli/models.ts, test/cli/models-add.ts.
 */
import { mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { Digests } from '../models/digest.ts'
import { bytesText, systemDisk } from '../models/disk.ts'
import { ModelError } from '../models/errors.ts'
import { Http } from '../models/http.ts'
import type { Library } from '../models/library.ts'
import type { LibraryModel } from '../models/library-file.ts'
import { pull } from '../models/pull.ts'
import { bytesOf, type Resolved } from '../models/resolved.ts'
import { parseSha256 } from '../models/source.ts'
import { resolveSource } from '../models/source-resolve.ts'
import type { Hardware } from '../node/hardware.ts'
import { type Context, confirm } from './context.ts'
import { estimateOf, verdictText } from './models-fit.ts'
import {
  libraryOf,
  type ModelsDeps,
  type ModelsOptions,
  type ModelsSettings,
  settingsOf,
  withFolder,
} from './models-folder.ts'
import { shapeAt } from './models-head.ts'
import { ProgressLine, rate } from './models-progress.ts'
import { type SourceFlags, sourcesOf, withSources } from './models-sources.ts'
import { alike, catalogueName, type Target, targetOf, whyText } from './models-target.ts'
import { licenceLines } from './models-words.ts'

export interface AddOptions extends ModelsOptions, SourceFlags {
  name?: string
  sha256?: string
  unverified?: boolean
  update?: boolean
  bandwidth?: number
  fit?: boolean
  yes?: boolean
  /** Also what is small, or here already. */
  askAlways?: boolean
}

export interface Added extends LibraryModel {
  readonly name: string
  readonly path: string
}

/** More is not fetched unasked. */
const ASK_FROM = 100 * 1024 * 1024

export function addCommand(context: Context, deps: ModelsDeps): Command {
  const command = withFolder(new Command('add'))
    .description('fetch a model, or take one that is on this machine')
    .argument('<model>', 'a name of the catalogue, or a source: see below')
    .option('--name <name>', 'what to call it; by default by the catalogue, or by its file')
    .option('--sha256 <hex>', 'what the file must be')
    .option('--unverified', 'take what nobody says the digest of; it is pinned then')
    .option('--update', 'take what the source has now, though another one was pinned')
    .option('--bandwidth <rate>', 'at most so much per second, such as 10MB', rate)
    .option('--no-fit', 'do not look at this machine, nor at the head of the file, first')
  return withSources(command)
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
Names and sources:
  qwen3-8b, qwen3-8b:Q5_K_M            of the catalogue; by default what suits this machine
  hf:OWNER/REPO/FILE.gguf[@REVISION]   a file of Hugging Face
  hf:OWNER/REPO:Q4_K_M                 what is there in this quantisation
  ollama:NAME[:TAG]                    from the Ollama here, in place, or its registry
  https://…/x.gguf#sha256=HEX          any server
  ipfs:CID[/PATH]                      through gateways
  ./x.gguf                             a file, used where it lies

Examples:
  pokt-supplier models add qwen3-8b
  pokt-supplier models add hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M`,
    )
    .action(async (model: string, options: AddOptions) => {
      const added = await addModel(context, deps, model, options)
      if (options.json === true) context.print(JSON.stringify(added, null, 2))
      else context.print(`${added.name} is here: ${added.path}`)
    })
}

/** Says what it is about to do, asks, and does it. @throws ModelError, CliError, ConfigError; `signal.reason` */
export async function addModel(
  context: Context,
  deps: ModelsDeps,
  model: string,
  options: AddOptions,
): Promise<Added> {
  const { clock, signal } = context
  const settings = await settingsOf(context, options)
  const library = libraryOf(context, settings)
  const hardware = options.fit === false ? undefined : await deps.hardware(context)
  const target = await findTarget(context, deps, settings, { model, library, hardware })
  const name = options.name ?? target.name
  const asked = {
    ...(await sourcesOf(context, settings, options)),
    ...(options.sha256 === undefined ? {} : { sha256: parseSha256(options.sha256) }),
    ...(name === undefined ? {} : { name }),
  }
  await using http = new Http({ clock })
  const found = await resolveSource(http, target.source, asked, signal)
  const resolved = await library.pinned(found, { update: options.update === true })
  const talk = options.json === true ? () => {} : context.say
  for (const line of [...whatLines(resolved, target), await roomLine(resolved, library.path)])
    talk(line)
  if (hardware !== undefined) talk(await fitLine(http, resolved, hardware, signal))
  const fetched = toFetch(resolved)
  if (fetched > ASK_FROM || options.askAlways === true)
    await confirm(context, `Fetch ${bytesText(fetched)}?`, options.yes === true)
  return await fetchModel(context, deps, { settings, library, http, resolved, target }, options)
}

async function findTarget(
  context: Context,
  deps: ModelsDeps,
  { models }: ModelsSettings,
  what: { model: string; library: Library; hardware: Hardware | undefined },
): Promise<Target> {
  const { model, library, hardware } = what
  const catalog = await deps.catalogue(models.catalogue)
  try {
    const here = await library.list()
    return targetOf(model, { catalog, here, ...(hardware === undefined ? {} : { hardware }) })
  } catch (error) {
    const names = alike(model, catalog)
    if (error instanceof ModelError && error.code === 'SOURCE_NAME' && names.length > 0)
      context.say(`the catalogue has: ${names.join(', ')}`)
    throw error
  }
}

interface Fetching {
  readonly settings: ModelsSettings
  readonly library: Library
  readonly http: Http
  readonly resolved: Resolved
  readonly target: Target
}

async function fetchModel(
  context: Context,
  { redraw }: ModelsDeps,
  { settings, library, http, resolved, target }: Fetching,
  options: AddOptions,
): Promise<Added> {
  const { clock, random, signal, say } = context
  const line = new ProgressLine({ say, redraw }, resolved.name)
  const digests = new Digests({ cacheFile: join(settings.dataFolder, 'digests.json') })
  // The library may lie elsewhere; digests are remembered here.
  await mkdir(settings.dataFolder, { recursive: true })
  const bytesPerSecond = options.bandwidth ?? settings.models.bandwidthMax
  try {
    await using pulled = await pull(
      { clock, random, http, disk: systemDisk, digests },
      library.path,
      resolved,
      {
        unverified: options.unverified === true,
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        onProgress: (progress) => line.show(progress),
        onNotice: (text) => {
          line.clear()
          say(text)
        },
      },
      signal,
    )
    const catalogue = target.entry === undefined ? undefined : catalogueName(target.entry)
    const update = options.update === true
    const added = await library.add(resolved, pulled, { signal, update, catalogue })
    return { name: resolved.name, path: await library.pathOf(resolved.name), ...added }
  } finally {
    line.clear()
  }
}

function whatLines({ name, source, files, license }: Resolved, { entry, why }: Target): string[] {
  const lines = [`${name} from ${source}`]
  if (entry !== undefined) {
    lines.push(`  ${entry.family.title} by ${entry.family.author}`)
    if (why !== undefined) lines.push(`  ${whyText(entry, why)}`)
  }
  for (const { fileName, bytes, place } of files)
    lines.push(
      `  ${fileName}  ${bytesText(bytes)}${place === undefined ? '' : `, used in place: ${place}`}`,
    )
  if (entry === undefined)
    return [...lines, `  licence: ${license ?? 'not said; look at the source'}`]
  return [...lines, ...licenceLines(entry.model.licence).map((line) => `  ${line}`)]
}

async function roomLine(resolved: Resolved, folder: string): Promise<string> {
  const fetched = toFetch(resolved)
  if (fetched === 0) return '  nothing to fetch'
  const free = await systemDisk.free(await existing(folder))
  return `  ${bytesText(fetched)} to fetch, ${bytesText(free)} free on this disk`
}

/** What cannot be read says nothing against the model: an engine may know more than we do. */
async function fitLine(
  http: Http,
  resolved: Resolved,
  hardware: Hardware,
  signal: AbortSignal,
): Promise<string> {
  try {
    const shape = await shapeAt(http, resolved, signal)
    const { plan, speed } = estimateOf({ shape, hardware })
    const { lines } = plan
    const text = verdictText({ plan, ...(speed === undefined ? {} : { speed }) })
    return plan.verdict === 'no' ? [text, ...lines].join('\n    ').replace(/^/, '  ') : `  ${text}`
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof ModelError)) throw error
    return `  whether it fits is not known: ${error.message}`
  }
}

function toFetch({ files }: Resolved): number {
  return bytesOf({ files: files.filter(({ place }) => place === undefined) })
}

/** The nearest folder that is there: what is free beside it is free for what will be in it. */
async function existing(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  return found === undefined && dirname(path) !== path ? await existing(dirname(path)) : path
}
