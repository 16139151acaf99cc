/**
 * What is known of a part file: whose it is, and which pieces of it were written, each with its CRC-32.
 *
 * Text, a line each, only ever appended to; a later header replaces the first. A crash may tear the last line; a power cut may keep a line
 * and lose the bytes it speaks of, which is what the CRC is for. Whether the whole is right says its
 * sha256, later. Tested by test/models/pull.ts.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { Range } from './pull-ranges.ts'

export interface Piece extends Range {
  readonly crc32: number
}

const Header = z.strictObject({
  v: z.literal(1),
  bytes: z.int().min(0),
  /** What the source calls this state of the file. */
  etag: z.string().optional(),
  url: z.string().optional(),
})
export type JournalHeader = Omit<z.infer<typeof Header>, 'v'>

export interface Journal {
  readonly header: JournalHeader
  readonly pieces: readonly Piece[]
}

/** A file of a terabyte in pieces of 256 KiB. */
const PIECES_MAX = 4_194_304
/** Pieces are written from memory, and read back into it. */
const PIECE_BYTES_MAX = 64 * 1024 * 1024

export function headerLine(header: JournalHeader): string {
  return `${JSON.stringify({ v: 1, ...header })}\n`
}

export function pieceLine({ start, end, crc32 }: Piece): string {
  return `${start} ${end} ${crc32.toString(16)}\n`
}

/** undefined: there is none, or none that can be read. */
export async function readJournal(path: string): Promise<Journal | undefined> {
  try {
    const [first = '', ...lines] = (await readFile(path, 'utf8')).split('\n')
    let header = headerOf(first)
    const pieces: Piece[] = []
    // What follows the last line break is empty, or torn.
    for (const line of lines.slice(0, -1)) {
      if (line.startsWith('{')) header = headerOf(line)
      const piece = pieceOf(line, header.bytes)
      if (piece !== undefined) pieces.push(piece)
    }
    return pieces.length > PIECES_MAX ? undefined : { header, pieces }
  } catch {
    return undefined
  }
}

function headerOf(line: string): JournalHeader {
  const { v: _, ...header } = Header.parse(JSON.parse(line))
  return header
}

function pieceOf(line: string, bytes: number): Piece | undefined {
  const [, start, end, crc32] = /^(\d{1,15}) (\d{1,15}) ([0-9a-f]{1,8})$/.exec(line) ?? []
  if (crc32 === undefined) return undefined
  const piece = { start: Number(start), end: Number(end), crc32: Number.parseInt(crc32, 16) }
  const length = piece.end - piece.start
  return length > 0 && length <= PIECE_BYTES_MAX && piece.end <= bytes ? piece : undefined
}
