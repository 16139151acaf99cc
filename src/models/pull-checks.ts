/** What must hold before and instead of a download. Tested by test/models/pull.ts. */
import { open } from 'node:fs/promises'
import type { Digests } from './digest.ts'
import { ModelError } from './errors.ts'
import { shownUrl } from './http.ts'
import { checkMagic, MAGIC } from './pull-part.ts'
import type { Resolved, ResolvedFile } from './resolved.ts'

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** @throws ModelError DIGEST_UNKNOWN, SOURCE_UNSAFE */
export function requireDigests({ files }: Resolved, unverified: boolean): void {
  for (const { fileName, sha256, urls, place } of files) {
    if (sha256 !== undefined || place !== undefined) continue
    if (!unverified)
      throw new ModelError('DIGEST_UNKNOWN', `nobody says what the sha256 of ${fileName} must be`)
    const open = urls.find((url) => isOpenToAll(url))
    if (open !== undefined)
      throw new ModelError(
        'SOURCE_UNSAFE',
        `${shownUrl(open)} has neither a digest nor https: anybody on the way could change it`,
      )
  }
}

/** True for an address that anybody on the way can read and change. */
export function isOpenToAll(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol !== 'https:' && !LOOPBACK.test(hostname)
}

/**
 * A file that is used where it lies. @returns its sha256
 * @throws ModelError MODEL_LOAD: it cannot be read; DOWNLOAD_BROKEN: it is another one
 */
export async function checkFile(
  digests: Digests,
  { files }: Resolved,
  { place = '', sha256, fileName }: ResolvedFile,
  signal: AbortSignal,
): Promise<string> {
  await checkHead(place)
  // Of several files the first one stands for all.
  const read = await digests.of(files[0]?.place ?? place, { signal })
  const found = read.files.find(({ path }) => path === place)?.sha256
  if (found === undefined) throw new ModelError('MODEL_LOAD', `${place} is no part of its model`)
  if (sha256 !== undefined && found !== sha256)
    throw new ModelError(
      'DOWNLOAD_BROKEN',
      `${fileName} has the sha256 ${found}, and not ${sha256}`,
    )
  return found
}

async function checkHead(path: string): Promise<void> {
  const head = Buffer.alloc(MAGIC.length)
  let length: number
  try {
    await using file = await open(path, 'r')
    length = (await file.read(head, 0, head.length, 0)).bytesRead
  } catch (cause) {
    throw new ModelError('MODEL_LOAD', `cannot read ${path}`, { cause })
  }
  checkMagic(head.subarray(0, length), MAGIC.length)
}
