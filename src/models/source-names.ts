/**
 * Names that come from elsewhere and become names on this disk: of files and of models. Whatever could
 * lead out of a folder, or is special to a system, is refused and never repaired.
 *
 * Reserved names are those of Windows, which matter wherever the folder is shared. Tested by
 * test/models/source.ts.
 */
import { ModelError } from './errors.ts'

/** Bytes; file systems allow 255, and a part file's name is longer than the file's. */
const NAME_BYTES_MAX = 200
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\ufeff/\\:*?"<>|]/
const RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|$)/i
const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,99}$/
const SHARD = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i
/** Of one model; the largest that are published have some tens. */
const SHARDS_MAX = 500

/** True for one part of a path that is safe on every system. */
export function isSafeName(name: string): boolean {
  return (
    name !== '' &&
    Buffer.byteLength(name) <= NAME_BYTES_MAX &&
    Buffer.from(name).toString() === name &&
    !FORBIDDEN.test(name) &&
    !/^[. ]|[. ]$/.test(name) &&
    !RESERVED.test(name)
  )
}

/** The last part of a path at a source, as the name of a file here. @throws ModelError SOURCE_UNSAFE */
export function safeFileName(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1)
  if (isSafeName(name) && /\.gguf$/i.test(name)) return name
  throw new ModelError('SOURCE_UNSAFE', `${shown(path)} is no name for a file of weights (x.gguf)`)
}

export function isModelName(name: string): boolean {
  return MODEL_NAME.test(name) && isSafeName(name) && !name.includes('..')
}

/** @throws ModelError MODEL_NAME */
export function modelName(name: string): string {
  if (isModelName(name)) return name
  throw new ModelError('MODEL_NAME', `${shown(name)} cannot be the name of a model`)
}

/** What a model is called whose owner says nothing: by its file. @throws ModelError MODEL_NAME */
export function nameFrom(fileName: string): string {
  const stem = (SHARD.exec(fileName)?.[1] ?? fileName.replace(/\.gguf$/i, '')).toLowerCase()
  return modelName(
    stem
      .replace(/[^a-z0-9._-]+/g, '-')
      .replace(/\.{2,}/g, '.')
      .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
      .slice(0, 100),
  )
}

export interface Shard {
  readonly stem: string
  readonly number: number
  readonly count: number
}

/** Of `…-00001-of-00003.gguf`; undefined for a file that is a whole model. */
export function shardOf(path: string): Shard | undefined {
  const [, stem, number, count] = SHARD.exec(path) ?? []
  if (stem === undefined || number === undefined || count === undefined) return undefined
  return { stem, number: Number(number), count: Number(count) }
}

/** All files of the model that `path` is of, in order. @throws ModelError SOURCE_UNSAFE */
export function shardPaths(path: string): string[] {
  const shard = shardOf(path)
  if (shard === undefined) return [path]
  const { stem, number, count } = shard
  if (number < 1 || number > count || count > SHARDS_MAX)
    throw new ModelError('SOURCE_UNSAFE', `${shown(path)} is not one of 1 to ${SHARDS_MAX} files`)
  const extension = path.slice(-'.gguf'.length)
  const digits = (value: number) => String(value).padStart(5, '0')
  return Array.from(
    { length: count },
    (_, at) => `${stem}-${digits(at + 1)}-of-${digits(count)}${extension}`,
  )
}

/** For a message: short, in quotes, nothing that a terminal would obey. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

/** What a source says about itself, for a terminal: one short line. */
export function plainText(text: string): string {
  return text
    .trim()
    .replace(/\p{Cc}|\p{Cf}/gu, '')
    .slice(0, 80)
}
