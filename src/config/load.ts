/**
 * supplier.yaml from disk to a checked, frozen value.
 *
 * All wrong settings are reported at once, with path and remedy. Tests: test/config/load.ts.
 */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { errorText, SupplierError } from '../base/errors.ts'
import { issueText } from '../base/issue.ts'
import { parseGasPrice } from '../chain/tx.ts'
import { NETWORKS, UNNAMED } from './networks.ts'
import { type Config, type ConfigFile, ConfigSchema } from './schema.ts'
import type { BackendConfig } from './services.ts'

export const CONFIG_ERRORS = {
  CONFIG_MISSING:
    'There is no configuration file. Copy supplier.example.yaml, or name one with --config.',
  CONFIG_UNREADABLE: 'The configuration file cannot be read. Check its owner and permissions.',
  CONFIG_YAML: 'The configuration file is not YAML.',
  CONFIG_INVALID: 'Settings are wrong. Each is named with its path and what to write instead.',
} as const

export class ConfigError extends SupplierError<keyof typeof CONFIG_ERRORS> {}

/**
 * Relative paths start at the configuration file, `~` at the home folder.
 * @throws ConfigError CONFIG_MISSING, CONFIG_UNREADABLE, and those of `parseConfig`
 */
export async function loadConfig(path: string): Promise<Config> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (absent) throw new ConfigError('CONFIG_MISSING', `no configuration at ${path}`)
    throw new ConfigError('CONFIG_UNREADABLE', `cannot read ${path}`, { cause })
  }
  return parseConfig(text, dirname(resolve(path)))
}

/** @throws ConfigError CONFIG_YAML, CONFIG_INVALID (`message` has one line for each wrong setting) */
export function parseConfig(text: string, folder: string): Config {
  const raw = readYaml(text) ?? {}
  const parsed = ConfigSchema.safeParse(raw)
  const problems = parsed.success
    ? beyondSchema(parsed.data)
    : parsed.error.issues.map((issue) => issueText(issue, 'see supplier.example.yaml'))
  if (!namesNode(raw))
    problems.push('chain.rpc: name a node, or write network: mainnet, beta or local')
  if (!parsed.success || problems.length > 0) {
    throw new ConfigError('CONFIG_INVALID', problems.join('\n'), {
      data: { problems: problems.length },
    })
  }
  return freeze(withPaths(withNetwork(parsed.data), folder))
}

function readYaml(text: string): unknown {
  const document = parseDocument(text, { uniqueKeys: true })
  const [fault] = document.errors
  if (fault !== undefined)
    throw new ConfigError('CONFIG_YAML', fault.message.trim().replace(/\n\n+/g, '\n'))
  try {
    return document.toJS()
  } catch (cause) {
    // An alias without its anchor is noticed only here.
    throw new ConfigError('CONFIG_YAML', errorText(cause))
  }
}

/** Told together with what the schema says, which takes either as left out. */
function namesNode(raw: { network?: unknown; chain?: { rpc?: unknown } | null }): boolean {
  return raw.network !== undefined || raw.chain?.rpc !== undefined
}

/** What one setting cannot know of another. */
function beyondSchema(config: ConfigFile): string[] {
  const problems: string[] = []
  const ids = config.services.map(({ id }) => id)
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) {
    problems.push(`services: "${id}" stands there twice; keep one`)
  }
  const keys = config.operators.map(({ keyFile }) => keyFile)
  for (const key of new Set(keys.filter((key, index) => keys.indexOf(key) !== index))) {
    problems.push(`operators: the key file "${key}" stands there twice; keep one`)
  }
  const shares = config.stake?.revShare
  const sum = shares?.reduce((total, { percent }) => total + percent, 0)
  if (sum !== undefined && sum !== 100)
    problems.push(`stake.revShare: the shares add up to ${sum}, not to 100`)
  const receivers = shares?.map(({ address }) => address) ?? []
  for (const address of new Set(receivers.filter((one, index) => receivers.indexOf(one) !== index)))
    problems.push(`stake.revShare: ${address} stands there twice; add its shares up`)
  const types = config.stake?.rpcTypes ?? []
  if (new Set(types).size !== types.length)
    problems.push('stake.rpcTypes: a type stands there twice; keep one')
  if (config.relay.minedRequestMax > config.relay.bodyMax) {
    problems.push('relay.minedRequestMax: must not be larger than relay.bodyMax')
  }
  for (const { id, backend } of config.services)
    if (
      backend.kind === 'upstream' &&
      (backend.url === undefined) === (backend.servers === undefined)
    )
      problems.push(`services: the backend of "${id}" needs \`url\` or \`servers\`, and not both`)
  if (config.machine.serve === 'schedule' && config.machine.hours === undefined)
    problems.push('machine.hours: `serve: schedule` needs them')
  const { local } = config
  if (local !== undefined && local.apiKeyFile === undefined && !isLoopback(local.listen.host))
    problems.push('local.listen: others could use your models there; add local.apiKeyFile')
  if (!isLoopback(config.admin.listen.host)) {
    problems.push(
      'admin.listen: health and status are for this machine only; write 127.0.0.1 and a port',
    )
  }
  return problems
}

/** What the network gives where the file says nothing. */
function withNetwork(file: ConfigFile): Config {
  const network = file.network === undefined ? UNNAMED : NETWORKS[file.network]
  return {
    ...file,
    chain: {
      ...file.chain,
      rpc: file.chain.rpc ?? [...network.rpc],
      id: file.chain.id ?? network.chainId,
      gasPrice: file.chain.gasPrice ?? parseGasPrice(network.gasPrice),
    },
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function withPaths(config: Config, folder: string): Config {
  const path = (text: string) => {
    const home = text === '~' || text.startsWith('~/') ? join(homedir(), text.slice(1)) : text
    return isAbsolute(home) ? home : join(folder, home)
  }
  return {
    ...config,
    dataDir: path(config.dataDir),
    operators: config.operators.map((operator) => ({
      keyFile: path(operator.keyFile),
      passphraseFile:
        operator.passphraseFile === undefined ? undefined : path(operator.passphraseFile),
    })),
    services: config.services.map((service) => ({
      ...service,
      ...pathsIn(service, ['tokenizerFolder'], path),
      backend: backendPaths(service.backend, path),
    })),
    models: {
      ...config.models,
      ...pathsIn(config.models, ['folder', 'catalogue'], path),
      huggingFace: {
        ...config.models.huggingFace,
        ...pathsIn(config.models.huggingFace, ['tokenFile'], path),
      },
    },
    ...(config.local === undefined
      ? {}
      : { local: { ...config.local, ...pathsIn(config.local, ['apiKeyFile'], path) } }),
  }
}

type ToPath = (text: string) => string

/** Those of the named settings that are there, as whole paths. */
function pathsIn<T extends object, K extends keyof T>(
  value: T,
  names: readonly K[],
  path: ToPath,
): Pick<T, K> {
  const found = names.filter((name) => typeof value[name] === 'string')
  return Object.fromEntries(found.map((name) => [name, path(String(value[name]))])) as Pick<T, K>
}

function backendPaths(backend: BackendConfig, path: ToPath): BackendConfig {
  switch (backend.kind) {
    case 'llamacpp': {
      const model = isWeightsFile(backend.model) ? path(backend.model) : backend.model
      return { ...backend, ...pathsIn(backend, ['chatTemplate'], path), model }
    }
    case 'ollama':
      return backend
    case 'upstream': {
      const { servers } = backend
      const all = servers?.map((one) => ({ ...one, ...pathsIn(one, ['apiKeyFile'], path) }))
      return {
        ...backend,
        ...pathsIn(backend, ['apiKeyFile'], path),
        ...(all === undefined ? {} : { servers: all }),
      }
    }
  }
}

/** A path, where anything else is the name of a model. */
export function isWeightsFile(model: string): boolean {
  if (model === TINY_MODEL || model.startsWith(OLLAMA_PREFIX)) return false
  return /[/\\]|^[.~]|\.gguf$/i.test(model)
}

/** The name of the model that comes with the program. */
export const TINY_MODEL = 'tiny'

/** Before the name of a model whose weights Ollama keeps. */
export const OLLAMA_PREFIX = 'ollama:'

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}
