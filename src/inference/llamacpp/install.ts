/**
 * Which engine binaries are here, which is used, and how a missing kind is fetched.
 *
 * npm can't choose the right binary when the supplier itself is installed (all of them are 700 MB), so a
 * kind is installed on request into the data folder, a folder for each version, with install scripts
 * off: the packages hold finished binaries. Package names and what each kind needs are those of
 * node-llama-cpp's `optionalDependencies`. Tested by test/inference/llamacpp/install.ts.
 */
import { execFile } from 'node:child_process'
import { access, mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { z } from 'zod'
import { errorText } from '../../base/errors.ts'
import { InferenceError } from '../errors.ts'

/** Of node-llama-cpp and of its binaries, which must be the same. */
export const ENGINE_VERSION = '3.22.1'

export type EngineKind = 'cpu' | 'vulkan' | 'cuda' | 'metal'

/** From the fastest to the one that always works. */
const KINDS: readonly EngineKind[] = ['metal', 'cuda', 'vulkan', 'cpu']

/**
 * Platform → kind → packages (`@node-llama-cpp/…`). The first is what the kind is; CUDA brings its
 * build for older drivers, and each GPU kind what the engine falls back to.
 */
const PACKAGES: Readonly<Record<string, Partial<Record<EngineKind, readonly string[]>>>> = {
  'linux-x64': {
    cpu: ['linux-x64'],
    vulkan: ['linux-x64-vulkan', 'linux-x64'],
    cuda: ['linux-x64-cuda', 'linux-x64-cuda-ext', 'linux-x64-vulkan', 'linux-x64'],
  },
  'linux-arm64': { cpu: ['linux-arm64'] },
  'linux-arm': { cpu: ['linux-armv7l'] },
  'linux-riscv64': { cpu: ['linux-riscv64'] },
  'darwin-arm64': { metal: ['mac-arm64-metal'] },
  'darwin-x64': { cpu: ['mac-x64'] },
  'win32-x64': {
    cpu: ['win-x64'],
    vulkan: ['win-x64-vulkan', 'win-x64'],
    cuda: ['win-x64-cuda', 'win-x64-cuda-ext', 'win-x64-vulkan', 'win-x64'],
  },
  'win32-arm64': { cpu: ['win-arm64'] },
}

export interface EngineCopy {
  readonly where: 'data folder' | 'package'
  readonly version: string
  /** Of the entry file: what the engine's process imports. */
  readonly url: string
  /** Whose binaries lie beside it; none: nothing runs. */
  readonly kinds: readonly EngineKind[]
}

export interface EngineReport {
  /** In the order of preference. */
  readonly copies: readonly EngineCopy[]
  readonly use: EngineCopy | undefined
  /** Why that one, or what to do, as a sentence. */
  readonly why: string
}

export interface EngineOptions {
  /** The supplier's; engines lie in `engines/VERSION`. */
  readonly dataFolder: string
  /** `platform-arch`, as Node names them. */
  readonly platform: string
  /** URL of the node-llama-cpp beside this package; absent: it is looked for. */
  readonly beside?: string
}

export function thisPlatform(): string {
  return `${process.platform}-${process.arch}`
}

/** The kinds that are made for a platform; empty where there is none. */
export function kindsFor(platform: string): EngineKind[] {
  return KINDS.filter((kind) => PACKAGES[platform]?.[kind] !== undefined)
}

/** Runs npm with these arguments. @throws Error whose message holds what npm said */
export type Npm = (args: readonly string[], signal: AbortSignal) => Promise<void>

/** What of `all` npm is given: the way to the registry and its own settings, no secret of ours. */
export function npmEnvironment(
  all: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined && NPM_NAMES.test(name)) out[name] = value
  }
  return out
}

const NPM_NAMES =
  /^(path|home|userprofile|appdata|localappdata|systemroot|comspec|pathext|tmpdir|temp|tmp|lang|(https?|no|all)_proxy|node_extra_ca_certs|ssl_cert_(file|dir)|npm_config_\w+)$/i

/** @param environment all that npm sees, of `npmEnvironment` */
export function systemNpm(environment: Readonly<Record<string, string>>): Npm {
  const windows = process.platform === 'win32'
  return async (args, signal) => {
    await promisify(execFile)(windows ? 'npm.cmd' : 'npm', [...args], {
      env: { ...environment },
      signal,
      // Node starts .cmd files through a shell only.
      shell: windows,
      maxBuffer: 16 * 1024 * 1024,
    })
  }
}

/**
 * Installs a kind into the data folder, beside kinds that are there already. May be called again.
 * @throws InferenceError ENGINE_MISSING when there is no such binary, or npm can't get it; signal.reason
 */
export async function installEngine(
  kind: EngineKind,
  deps: { npm: Npm },
  options: EngineOptions,
  signal: AbortSignal,
): Promise<EngineCopy> {
  const packages = PACKAGES[options.platform]?.[kind]
  if (packages === undefined) {
    const kinds = kindsFor(options.platform).join(', ') || 'none'
    throw missing(`there is no ${kind} engine for ${options.platform} (there is: ${kinds})`)
  }
  const folder = engineFolder(options)
  await mkdir(folder, { recursive: true })
  const wanted = ['node-llama-cpp', ...packages.map((name) => `@node-llama-cpp/${name}`)]
  try {
    await deps.npm(
      [
        ...['install', '--prefix', folder, '--ignore-scripts', '--omit=optional'],
        ...['--no-audit', '--no-fund', '--save-exact'],
        ...wanted.map((name) => `${name}@${ENGINE_VERSION}`),
      ],
      signal,
    )
  } catch (error) {
    signal.throwIfAborted()
    throw npmFailed(error)
  }
  const copy = await copyIn(join(folder, 'node_modules'), 'data folder', options.platform)
  if (copy?.version !== ENGINE_VERSION || !copy.kinds.includes(kind))
    throw missing(`npm ended well but the ${kind} engine is not in ${folder}`)
  return copy
}

/** What is installed and what would run. A copy of another version than the pinned one is not used. */
export async function showEngines(options: EngineOptions): Promise<EngineReport> {
  const beside = options.beside ?? besidePackage()
  const found = await Promise.all([
    copyIn(join(engineFolder(options), 'node_modules'), 'data folder', options.platform),
    beside === undefined
      ? undefined
      : copyIn(dirname(dirname(dirname(fileURLToPath(beside)))), 'package', options.platform),
  ])
  const copies = found.filter((copy) => copy !== undefined)
  const use = copies.find((copy) => copy.version === ENGINE_VERSION && copy.kinds.length > 0)
  return { copies, use, why: reason(use, options.platform) }
}

function reason(use: EngineCopy | undefined, platform: string): string {
  if (use === undefined) {
    const kinds = kindsFor(platform)
    return kinds.length === 0
      ? `There is no engine for ${platform}. Use an upstream server instead.`
      : `No engine is installed. Run: pokt-supplier engine install ${kinds.join('|')}`
  }
  const kinds = use.kinds.join(', ')
  return use.where === 'data folder'
    ? `The copy in the data folder (${kinds}) was installed on purpose and comes first.`
    : `The copy beside the program (${kinds}) is used: the data folder has none.`
}

function engineFolder(options: EngineOptions): string {
  return join(options.dataFolder, 'engines', ENGINE_VERSION)
}

function besidePackage(): string | undefined {
  try {
    return import.meta.resolve('node-llama-cpp')
  } catch {
    return undefined
  }
}

async function copyIn(
  modules: string,
  where: EngineCopy['where'],
  platform: string,
): Promise<EngineCopy | undefined> {
  const version = await versionOf(join(modules, 'node-llama-cpp'))
  if (version === undefined) return undefined
  const kinds: EngineKind[] = []
  for (const kind of kindsFor(platform)) {
    const name = PACKAGES[platform]?.[kind]?.[0]
    if (name === undefined) continue
    const folder = join(modules, '@node-llama-cpp', name)
    // The library refuses binaries of another version than its own.
    if ((await versionOf(folder)) === version && (await exists(join(folder, 'bins'))))
      kinds.push(kind)
  }
  const entry = join(modules, 'node-llama-cpp', 'dist', 'index.js')
  return { where, version, url: pathToFileURL(entry).href, kinds }
}

const manifest = z.object({ version: z.string() })

async function versionOf(folder: string): Promise<string | undefined> {
  try {
    const text = await readFile(join(folder, 'package.json'), 'utf8')
    return manifest.parse(JSON.parse(text)).version
  } catch {
    return undefined
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function missing(message: string, cause?: unknown): InferenceError {
  return new InferenceError('ENGINE_MISSING', message, { cause })
}

function npmFailed(error: unknown): InferenceError {
  const said = errorText(error)
  const absent = /(@node-llama-cpp\/[\w-]+)@[\w.-]+/.exec(said.split(/ETARGET|E404/)[1] ?? '')
  if (absent !== null)
    return missing(`${absent[1]} ${ENGINE_VERSION} is not in the registry: not available`, error)
  return new InferenceError('ENGINE_MISSING', `npm could not install it: ${said.slice(-500)}`, {
    retryable: true,
    cause: error,
  })
}
