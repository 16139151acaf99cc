/**
 * The body of one request, put together as it comes.
 *
 * A piece of one byte is an object of two hundred: pieces are copied into one buffer that grows by
 * doubling, and a body that comes in crumbs is not waited for. So what is held is at most twice what
 * came. Tests: test/relay/body.ts.
 */
import { RelayError } from './errors.ts'

/** So many pieces may be of any size; of more, each must have so many bytes on average. */
const PIECES_FREE = 1_000
const PIECE_BYTES_MIN = 64

export class Body {
  readonly #max: number
  #buffer: Buffer = Buffer.alloc(0)
  #size = 0
  #pieces = 0

  /** @param max larger ones are counted and not kept */
  constructor(max: number) {
    this.#max = max
  }

  /** Bytes that came. */
  get size(): number {
    return this.#size
  }

  get isTooLarge(): boolean {
    return this.#size > this.#max
  }

  /** Bytes in memory. */
  get held(): number {
    return this.#buffer.length
  }

  /** Undefined when it is too large. */
  get bytes(): Uint8Array | undefined {
    return this.isTooLarge ? undefined : this.#buffer.subarray(0, this.#size)
  }

  /** @throws RelayError REFUSED */
  add(piece: Buffer): void {
    const at = this.#size
    this.#size += piece.length
    this.#pieces++
    if (this.#pieces > PIECES_FREE && this.#size < this.#pieces * PIECE_BYTES_MIN)
      throw new RelayError('REFUSED', 'a body in crumbs')
    if (this.isTooLarge) this.#buffer = Buffer.alloc(0)
    else if (at === 0) this.#buffer = piece
    else {
      if (this.#size > this.#buffer.length) this.#grow(at)
      piece.copy(this.#buffer, at)
    }
  }

  #grow(filled: number): void {
    const wider = Math.min(this.#max, Math.max(this.#size, 2 * this.#buffer.length))
    const next = Buffer.allocUnsafeSlow(wider)
    this.#buffer.copy(next, 0, 0, filled)
    this.#buffer = next
  }
}
