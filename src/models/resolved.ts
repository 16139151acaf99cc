/** What a source has, after it was asked: the files of a model, and where each of them lies. */
import type { Credential } from './http.ts'

export interface ResolvedFile {
  /** As the engine will see it; safe (source-names.ts). */
  readonly fileName: string
  readonly bytes: number
  /** In hex, as the source or the owner says; absent: nobody does. */
  readonly sha256?: string
  /** In the order in which they are tried; empty for a file that is here. */
  readonly urls: readonly string[]
  /** Absolute: it lies on this machine, is used where it is, and is never removed. */
  readonly place?: string
}

export interface Resolved {
  /** Of the model, here. */
  readonly name: string
  /** As `parseSource` reads it. */
  readonly source: string
  /** What the source calls this state of the model; it does not change. */
  readonly revision?: string
  readonly license?: string
  /** In order, at least one. */
  readonly files: readonly ResolvedFile[]
  readonly credential?: Credential
}

export function bytesOf({
  files,
}: {
  readonly files: readonly { readonly bytes: number }[]
}): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0)
}
