/**
 * Where an Ollama server listens: the configured URL, `OLLAMA_HOST`, or its usual port on this machine.
 *
 * Tested by test/inference/ollama/client.ts.
 */
import { Pool } from 'undici'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/retry.ts'
import type { Ms } from '../../base/units.ts'
import { isObject } from '../json.ts'
import { parsed } from '../tools/json.ts'

const USUAL_PORT = '11434'
const VERSION = /^\d+\.\d+\.\d+[\w.+-]*$/
/** More than any server says about its version. */
const ANSWER_BYTES_MAX = 16 * 1024

export interface Detected {
  /** Without a path of its own. */
  readonly url: string
  /** `0.12.11`. */
  readonly version: string
}

/** @param host as Ollama reads its own variable: a host, a port, both, or a URL */
export function ollamaUrl(host: string): string | undefined {
  const text = host.trim().replace(/^["']|["']$/g, '')
  const isUrl = text.includes('://')
  const named = text.startsWith(':') ? `127.0.0.1${text}` : text
  try {
    const url = new URL(isUrl ? named : `http://${named}`)
    if (!/^https?:$/.test(url.protocol)) return undefined
    // It listens on all addresses then; this one is ours.
    if (url.hostname === '0.0.0.0' || url.hostname === '[::]') url.hostname = '127.0.0.1'
    const hasPort = url.port !== '' || isUrl || /:80$/.test(named)
    if (!hasPort) url.port = USUAL_PORT
    return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
  } catch {
    return undefined
  }
}

/**
 * Asks the places where it may be, in order, and takes the first that answers as Ollama does.
 * @param places.url the configured one; nothing else is asked then
 * @returns undefined: nobody. @throws `signal.reason`
 */
export async function detectOllama(
  deps: { readonly clock: Clock },
  places: {
    readonly url?: string
    readonly environment: Readonly<Record<string, string | undefined>>
    /** For each place. */
    readonly timeout: Ms
  },
  signal: AbortSignal,
): Promise<Detected | undefined> {
  const { environment, timeout } = places
  const host = environment['OLLAMA_HOST']
  const candidates =
    places.url !== undefined
      ? [ollamaUrl(places.url)]
      : [host === undefined ? undefined : ollamaUrl(host), ollamaUrl('127.0.0.1')]
  for (const url of new Set(candidates)) {
    if (url === undefined) continue
    const version = await withDeadline(deps.clock, timeout, signal, (limited) =>
      versionAt(url, limited),
    ).catch(() => undefined)
    signal.throwIfAborted()
    if (version !== undefined) return { url, version }
  }
  return undefined
}

async function versionAt(url: string, signal: AbortSignal): Promise<string | undefined> {
  const { origin, pathname } = new URL(url)
  const pool = new Pool(origin, { connections: 1, maxResponseSize: ANSWER_BYTES_MAX })
  try {
    const path = `${pathname.replace(/\/+$/, '')}/api/version`
    const { statusCode, body } = await pool.request({ method: 'GET', path, signal })
    const value = parsed(await body.text())
    const version = isObject(value) ? value['version'] : undefined
    const isVersion = statusCode === 200 && typeof version === 'string' && VERSION.test(version)
    return isVersion ? version : undefined
  } finally {
    await pool.destroy()
  }
}

/** Whether `version` is at least `least`, by their three numbers. */
export function isAtLeast(version: string, least: readonly [number, number, number]): boolean {
  const numbers = version.split(/[^\d]/).slice(0, 3).map(Number)
  for (const [at, number] of least.entries()) {
    const ours = numbers[at] ?? 0
    if (ours !== number) return ours > number
  }
  return true
}
