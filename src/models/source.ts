/**
 * Where weights come from, as it is written: `hf:OWNER/REPO/FILE.gguf@REVISION`, `hf:OWNER/REPO:Q4_K_M`,
 * `ollama:NAME:TAG`, `https://…/x.gguf#sha256=HEX`, `ipfs:CID/path`, or the path of a file.
 *
 * Pure: nothing is asked and nothing is looked at. Tested by test/models/source.ts.
 */
import { unreachable } from '../base/errors.ts'
import { ModelError } from './errors.ts'
import { isSafeName, shown } from './source-names.ts'

export type Source =
  | HuggingFaceSource
  /** As for `ollama run`. */
  | { readonly kind: 'ollama'; readonly name: string }
  | { readonly kind: 'url'; readonly url: string; readonly sha256?: string }
  | {
      readonly kind: 'ipfs'
      readonly cid: string
      readonly path?: string
      readonly sha256?: string
    }
  /** As it was written: relative to the folder of whoever wrote it. */
  | { readonly kind: 'file'; readonly path: string }

export interface HuggingFaceSource {
  readonly kind: 'huggingface'
  /** `OWNER/REPO`. */
  readonly repo: string
  readonly revision?: string
  /** Inside the repository; or what to look for there. */
  readonly file?: string
  readonly quant?: string
}

const LENGTH_MAX = 2_048
const SHA256 = /^[0-9a-f]{64}$/i
const PART = /^[A-Za-z0-9][\w.-]{0,95}$/
const REVISION = /^[A-Za-z0-9][\w./-]{0,199}$/
const QUANT = /^[A-Za-z0-9][\w-]{0,31}$/
const OLLAMA = /^[A-Za-z0-9][\w.-]*(:\d{1,5}\/)?[\w./-]*(:[\w][\w.-]*)?$/
/** CIDv0 is base58 of 46 letters, CIDv1 in base32 or base58. */
const CID = /^(Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{20,120}|z[1-9A-HJ-NP-Za-km-z]{20,120})$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
const CONTROL = /[\u0000-\u001f\u007f]/

/** @throws ModelError SOURCE_NAME */
export function parseSource(text: string): Source {
  if (
    text === '' ||
    text.length > LENGTH_MAX ||
    CONTROL.test(text) ||
    Buffer.from(text).toString() !== text
  )
    throw wrong(text, 'it is empty, too long, or has letters that cannot be seen')
  if (text.startsWith('hf:')) return huggingFace(text, text.slice('hf:'.length))
  if (text.startsWith('ollama:')) return ollama(text, text.slice('ollama:'.length))
  if (text.startsWith('ipfs:')) return ipfs(text, text.slice('ipfs:'.length))
  if (/^https?:\/\//i.test(text)) return plain(text)
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]
  if (scheme !== undefined) throw wrong(text, `nothing is fetched by ${shown(scheme)}`)
  if (/[/\\]/.test(text) || /\.gguf$/i.test(text)) return { kind: 'file', path: text }
  throw wrong(text, 'it is neither a source nor the path of a file')
}

/** The text that `parseSource` reads as the same, without a digest: what a lock file keeps. */
export function sourceText(source: Source): string {
  switch (source.kind) {
    case 'huggingface': {
      const { repo, file, quant, revision } = source
      const what = file === undefined ? `:${quant}` : `/${file}`
      return `hf:${repo}${what}${revision === undefined ? '' : `@${revision}`}`
    }
    case 'ollama':
      return `ollama:${source.name}`
    case 'url':
      return source.url
    case 'ipfs':
      return `ipfs:${source.cid}${source.path === undefined ? '' : `/${source.path}`}`
    case 'file':
      return source.path
    default:
      return unreachable(source)
  }
}

/** A digest as people write it. @throws ModelError SOURCE_NAME */
export function parseSha256(text: string): string {
  const digits = text.replace(/^sha256[:-]/i, '')
  if (SHA256.test(digits)) return digits.toLowerCase()
  throw new ModelError('SOURCE_NAME', `${shown(text)} is no sha256: 64 hex digits are needed`)
}

function huggingFace(text: string, rest: string): HuggingFaceSource {
  const at = rest.lastIndexOf('@')
  const [path, revision] = at < 0 ? [rest] : [rest.slice(0, at), rest.slice(at + 1)]
  if (revision !== undefined && (!REVISION.test(revision) || revision.includes('..')))
    throw wrong(text, 'the revision after @ is not one')
  const pinned = revision === undefined ? {} : { revision }
  const [owner = '', second = '', ...more] = path.split('/')
  const [repo = '', quant, ...others] = second.split(':')
  if (!isPart(owner) || !isPart(repo) || others.length > 0)
    throw wrong(text, 'write hf:OWNER/REPO/FILE.gguf or hf:OWNER/REPO:Q4_K_M')
  const base = { kind: 'huggingface', repo: `${owner}/${repo}`, ...pinned } as const
  if (quant !== undefined) {
    if (!QUANT.test(quant) || more.length > 0)
      throw wrong(text, 'a quantisation such as Q4_K_M stands after the colon, and nothing else')
    return { ...base, quant }
  }
  if (more.length === 0 || !more.every(isSafeName) || !/\.gguf$/i.test(path))
    throw wrong(text, 'name a file of the repository (x.gguf), or a quantisation after a colon')
  return { ...base, file: more.join('/') }
}

function isPart(part: string): boolean {
  return PART.test(part) && !part.includes('..')
}

function ollama(text: string, name: string): Source {
  if (!OLLAMA.test(name) || name.length > 300 || name.includes('..') || /\/\/|\/$/.test(name))
    throw wrong(text, 'write ollama:NAME or ollama:NAME:TAG')
  return { kind: 'ollama', name }
}

function ipfs(text: string, rest: string): Source {
  const { body, sha256 } = digestOf(text, rest.replace(/^\/\//, ''))
  const [cid = '', ...path] = body.split('/')
  if (!CID.test(cid)) throw wrong(text, 'a CID stands after ipfs:')
  if (!path.every(isSafeName)) throw wrong(text, 'the path after the CID is not a plain one')
  return {
    kind: 'ipfs',
    cid,
    ...(path.length === 0 ? {} : { path: path.join('/') }),
    ...(sha256 === undefined ? {} : { sha256 }),
  }
}

function plain(text: string): Source {
  const { body, sha256 } = digestOf(text, text)
  const url = URL.canParse(body) ? new URL(body) : undefined
  if (url === undefined) throw wrong(text, 'this is no URL')
  // It would be kept in the lock file, and shown.
  if (url.username !== '' || url.password !== '')
    throw wrong('the URL', 'a user or a password in it is not accepted')
  return { kind: 'url', url: url.href, ...(sha256 === undefined ? {} : { sha256 }) }
}

function digestOf(text: string, body: string): { body: string; sha256?: string } {
  const at = body.indexOf('#')
  if (at < 0) return { body }
  const digits = /^sha256=([0-9a-f]{64})$/i.exec(body.slice(at + 1))?.[1]
  if (digits === undefined) throw wrong(text, 'only sha256= and 64 hex digits may follow the #')
  return { body: body.slice(0, at), sha256: digits.toLowerCase() }
}

function wrong(text: string, why: string): ModelError {
  return new ModelError('SOURCE_NAME', `${shown(text)} cannot be fetched: ${why}`)
}
