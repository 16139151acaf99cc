/**
 * What the environment tells us: the only file that reads it. Programs that we start see chosen names only, and
 * none of our secrets. Tested by test/config/load.ts.
 */
import { npmEnvironment } from '../inference/llamacpp/install.ts'

/** What the environment tells us; nothing else of it is read. */
export interface Environment {
  readonly passphrase: string | undefined
  /** Where systemd puts credentials. */
  readonly credentialsDirectory: string | undefined
  readonly configPath: string | undefined
  /** What an engine process may see: no secret is among it. */
  readonly engine: Readonly<Record<string, string>>
  /** What npm may see when it installs an engine: proxies and its settings, but none of our secrets. */
  readonly npm: Readonly<Record<string, string>>
  /** What programs see that are asked about screens and cards: the way to the owner's session. */
  readonly session: Readonly<Record<string, string>>
  /** `HF_ENDPOINT`, `HF_TOKEN`. */
  readonly huggingFace: {
    readonly endpoint: string | undefined
    readonly token: string | undefined
  }
  /** Where the owner's Ollama listens (`OLLAMA_HOST`), and where it keeps its models (`OLLAMA_MODELS`). */
  readonly ollama: Readonly<Record<string, string | undefined>>
}

const ENGINE_VARIABLES = [
  'PATH',
  'HOME',
  'LANG',
  'LC_ALL',
  'TMPDIR',
  'TEMP',
  'TMP',
  'SystemRoot',
  'LD_LIBRARY_PATH',
  'DYLD_LIBRARY_PATH',
  'CUDA_VISIBLE_DEVICES',
  'CUDA_DEVICE_ORDER',
  'GGML_VK_VISIBLE_DEVICES',
  'NVIDIA_VISIBLE_DEVICES',
  'CUDA_PATH',
  'VK_ICD_FILENAMES',
  'VK_DRIVER_FILES',
  'XDG_CACHE_HOME',
  'XDG_RUNTIME_DIR',
] as const

const SESSION_VARIABLES = [
  ...['PATH', 'HOME', 'USER', 'LANG', 'TMPDIR', 'TEMP', 'TMP', 'SystemRoot', 'PATHEXT'],
  ...['DISPLAY', 'XAUTHORITY', 'WAYLAND_DISPLAY', 'XDG_RUNTIME_DIR', 'XDG_SESSION_ID'],
  'DBUS_SESSION_BUS_ADDRESS',
] as const

export function readEnvironment(variables: NodeJS.ProcessEnv = process.env): Environment {
  const only = (names: readonly string[]) =>
    Object.fromEntries(
      names.flatMap((name): [string, string][] => {
        const value = variables[name]
        return value === undefined ? [] : [[name, value]]
      }),
    )
  return {
    passphrase: variables['POKT_SUPPLIER_PASSPHRASE'],
    credentialsDirectory: variables['CREDENTIALS_DIRECTORY'],
    configPath: variables['POKT_SUPPLIER_CONFIG'],
    engine: only(ENGINE_VARIABLES),
    session: only(SESSION_VARIABLES),
    huggingFace: { endpoint: variables['HF_ENDPOINT'], token: variables['HF_TOKEN'] },
    npm: npmEnvironment(variables),
    ollama: {
      OLLAMA_HOST: variables['OLLAMA_HOST'],
      OLLAMA_MODELS: variables['OLLAMA_MODELS'],
    },
  }
}
