/**
 * A model of Hugging Face, or of a mirror that speaks the same: which files, how large, with what sha256.
 *
 * `GET /api/models/OWNER/REPO/revision/REV` names the commit and the licence, `…/tree/COMMIT?recursive=1`
 * the files with the sha256 of those that are in LFS, `HEAD /OWNER/REPO/resolve/COMMIT/FILE` the same in
 * `X-Linked-ETag` and `X-Linked-Size`. Everything is asked of one commit, so that it cannot change
 * meanwhile. Tested by test/models/source-resolve.ts.
 */
import { z } from 'zod'
import { ModelError } from './errors.ts'
import { type Credential, drop, type Http, type Reply, refusalOf } from './http.ts'
import { isOpenToAll } from './pull-checks.ts'
import type { Resolved, ResolvedFile } from './resolved.ts'
import { type HuggingFaceSource, sourceText } from './source.ts'
import { plainText, safeFileName, shardOf, shardPaths, shown } from './source-names.ts'

export const HUGGING_FACE = 'https://huggingface.co'

export interface HuggingFaceOptions {
  /** Of a mirror, or `HUGGING_FACE`. */
  readonly endpoint: string
  /** Sent to the endpoint's own host and to nobody else. */
  readonly token?: string
}

const PAGES_MAX = 20
const TAGS_SHOWN = 20
const SHA256 = /^[0-9a-f]{64}$/

const Revision = z.object({
  sha: z.string().regex(/^[0-9a-f]{40,64}$/),
  cardData: z
    .object({ license: z.string().optional(), license_name: z.string().optional() })
    .nullish()
    .catch(undefined),
})
const Entry = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().min(0).optional(),
  lfs: z.object({ oid: z.string(), size: z.int().min(0) }).optional(),
})
type Entry = z.infer<typeof Entry>

/** @throws ModelError SOURCE_ABSENT, SOURCE_REFUSED, SOURCE_UNREACHABLE, SOURCE_UNSAFE; `signal.reason` */
export async function resolveHuggingFace(
  http: Http,
  { endpoint, token }: HuggingFaceOptions,
  source: HuggingFaceSource,
  signal: AbortSignal,
): Promise<Omit<Resolved, 'name'>> {
  const base = endpoint.replace(/\/+$/, '')
  const asking = new Asking(http, base, credentialOf(base, token), signal)
  const { repo } = source
  const wanted = encodeURIComponent(source.revision ?? 'main')
  const about = await asking.json(`/api/models/${repo}/revision/${wanted}`, Revision, repo)
  const entries = await asking.tree(`/api/models/${repo}/tree/${about.sha}?recursive=1`, repo)
  const paths =
    source.file === undefined ? pathsOf(entries, source.quant ?? '', repo) : shardPaths(source.file)
  const files: ResolvedFile[] = []
  for (const path of paths) {
    const entry = entries.find((one) => one.path === path)
    if (entry === undefined) throw absent(`${repo} has no file ${shown(path)}`)
    const url = `${base}/${repo}/resolve/${about.sha}/${path.split('/').map(encodeURIComponent).join('/')}`
    files.push({ fileName: safeFileName(path), ...(await asking.digest(url, entry)), urls: [url] })
  }
  const license = about.cardData?.license_name ?? about.cardData?.license
  return {
    source: sourceText(source),
    revision: about.sha,
    files,
    ...(license === undefined ? {} : { license: plainText(license) }),
    ...(asking.credential === undefined ? {} : { credential: asking.credential }),
  }
}

/** The files of a quantisation: of all that are so called the ones whose name says the least more. */
export function pathsOf(
  entries: readonly { path: string }[],
  quant: string,
  repo: string,
): string[] {
  const models = new Map<string, string>()
  for (const { path } of entries) {
    const name = path.slice(path.lastIndexOf('/') + 1)
    if (!/\.gguf$/i.test(name) || /^mmproj|imatrix/i.test(name)) continue
    models.set(shardOf(path)?.stem ?? path.replace(/\.gguf$/i, ''), path)
  }
  const tag = new RegExp(`(^|[./-])${quant}($|[./-])`, 'i')
  const found = [...models.keys()].filter((stem) => tag.test(stem))
  if (found.length === 0) {
    const there = [...models.keys()].slice(0, TAGS_SHOWN).map(shown).join(', ')
    throw absent(`${repo} has nothing that is called ${quant}; it has: ${there || 'no GGUF file'}`)
  }
  const least = Math.min(...found.map((stem) => stem.length))
  const [first = '', ...others] = found.filter((stem) => stem.length === least)
  if (others.length > 0)
    throw absent(`${repo} has several that are called ${quant}: ${[first, ...others].join(', ')}`)
  return shardPaths(models.get(first) ?? '')
}

class Asking {
  readonly credential: Credential | undefined
  readonly #http: Http
  readonly #base: string
  readonly #signal: AbortSignal

  constructor(http: Http, base: string, credential: Credential | undefined, signal: AbortSignal) {
    this.#http = http
    this.#base = base
    this.credential = credential
    this.#signal = signal
  }

  async json<T>(path: string, schema: z.ZodType<T>, what: string): Promise<T> {
    return read(schema, (await this.#page(`${this.#base}${path}`, what)).text, what)
  }

  async tree(path: string, what: string): Promise<Entry[]> {
    const all: Entry[] = []
    let url: string | undefined = `${this.#base}${path}`
    for (let page = 0; url !== undefined; page++) {
      if (page === PAGES_MAX) throw unsafe(`${what} has more files than anybody reads`)
      const { text, reply }: { text: string; reply: Reply } = await this.#page(url, what)
      all.push(...read(z.array(Entry), text, what).filter(({ type }) => type === 'file'))
      const next = /<([^>]+)>;\s*rel="?next"?/i.exec(reply.headers.get('link') ?? '')?.[1]
      url = next === undefined ? undefined : new URL(next, url).href
    }
    return all
  }

  /** From the listing; of a file that is not in LFS there, or of a mirror that does not say, by asking. */
  async digest(url: string, entry: Entry): Promise<{ bytes: number; sha256?: string }> {
    const { lfs, size } = entry
    if (lfs !== undefined && SHA256.test(lfs.oid)) return { bytes: lfs.size, sha256: lfs.oid }
    const { credential } = this
    const asked = { method: 'HEAD', credential, follow: false } as const
    const reply = await this.#http.request(url, asked, this.#signal)
    drop(reply)
    if (reply.status >= 400) throw refusalOf(reply, shown(entry.path))
    const { headers } = reply
    const sha256 = headers.get('x-linked-etag')?.replace(/^W\/|"/g, '')
    const bytes = Number(headers.get('x-linked-size') ?? headers.get('content-length') ?? size)
    if (!Number.isSafeInteger(bytes)) throw unsafe(`nobody says how long ${shown(entry.path)} is`)
    return { bytes, ...(sha256 !== undefined && SHA256.test(sha256) ? { sha256 } : {}) }
  }

  async #page(url: string, what: string): Promise<{ text: string; reply: Reply }> {
    const { credential } = this
    const reply = await this.#http.request(url, { credential }, this.#signal)
    if (reply.status !== 200) {
      drop(reply)
      throw refusalOf(reply, what)
    }
    return { text: await this.#http.text(reply, this.#signal), reply }
  }
}

function credentialOf(base: string, token: string | undefined): Credential | undefined {
  if (token === undefined) return undefined
  if (isOpenToAll(base))
    throw unsafe(`the token is not sent to ${new URL(base).origin}: that is not https`)
  return { token, origin: new URL(base).origin }
}

function read<T>(schema: z.ZodType<T>, text: string, what: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    throw unsafe(`${what}: the answer is not as that of Hugging Face`)
  }
}

function absent(message: string): ModelError {
  return new ModelError('SOURCE_ABSENT', message)
}

function unsafe(message: string): ModelError {
  return new ModelError('SOURCE_UNSAFE', message)
}
