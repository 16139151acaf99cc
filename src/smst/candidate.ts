/**
 * The one leaf of a fold that can still be the closest to a target, with its siblings so far.
 *
 * At the inner node where two subtrees meet, the side of the target's bit wins. Of the subtrees that
 * a fold has begun and not completed, at most one can therefore hold the winner, so one candidate is
 * enough and the rest of the tree costs nothing:
 *
 * - an inner node opened at a depth where the target goes left already holds the winner of its
 *   subtree in its left side: nothing that follows can win before that node is complete;
 * - opened where the target goes right, its left side has lost: the candidate is forgotten.
 *
 * Source: pokt-network/smt smst.go (ProveClosest). Tested by test/smst/fold.ts.
 */
import { SmstError } from './errors.ts'
import type { Closest } from './fold.ts'
import { bitAt, DIGEST_BYTES, PATH_BITS, PATH_BYTES, PLACEHOLDER } from './node.ts'

const NOWHERE = -1

export class Candidate {
  readonly #target: Uint8Array
  readonly #path = new Uint8Array(PATH_BYTES)
  readonly #digest = new Uint8Array(DIGEST_BYTES)
  #leaves = false
  /** The depth of the open inner node whose left side holds the candidate, or NOWHERE. */
  #wonAt = NOWHERE
  readonly #siblings = new Uint8Array(PATH_BITS * DIGEST_BYTES)
  #siblingCount = 0
  readonly #flipped: number[] = []

  /** @param target 32 bytes; copied */
  constructor(target: Uint8Array) {
    // Not slice(): of a Buffer that is a view.
    this.#target = new Uint8Array(target)
  }

  /** A leaf begins the subtree to the right of all open inner nodes. */
  leaf(path: Uint8Array, digest: Uint8Array): void {
    if (this.#wonAt !== NOWHERE) return
    this.#leaves = true
    this.#path.set(path)
    this.#digest.set(digest)
    this.#siblingCount = 0
    this.#flipped.length = 0
  }

  /** The subtree became the left side of an inner node at `depth`, which will have a right side. */
  opened(depth: number): void {
    if (this.#wonAt === NOWHERE && bitAt(this.#target, depth) === 0) this.#wonAt = depth
  }

  /** The inner node at `depth` is complete. */
  joined(depth: number, left: Uint8Array, right: Uint8Array): void {
    if (this.#wonAt === depth) {
      this.#wonAt = NOWHERE
      this.#addSibling(right)
    } else if (this.#wonAt === NOWHERE) this.#addSibling(left)
  }

  /** The subtree was carried up over `depth`, where it has no sibling and lies on `side`. */
  wrapped(depth: number, side: 0 | 1): void {
    if (this.#wonAt !== NOWHERE) return
    this.#addSibling(PLACEHOLDER)
    if (side !== bitAt(this.#target, depth)) this.#flipped.push(depth)
  }

  /** The winner, after the last leaf. @throws SmstError EMPTY */
  found(): Omit<Closest, 'root'> {
    if (!this.#leaves) throw new SmstError('EMPTY', 'a tree without leaves has no closest one')
    const sideNodes = Array.from({ length: this.#siblingCount }, (_, i) =>
      this.#siblings.slice(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES),
    )
    return {
      target: this.#target,
      path: this.#path,
      digest: this.#digest,
      flippedBits: this.#flipped.toReversed(),
      sideNodes,
    }
  }

  #addSibling(digest: Uint8Array): void {
    this.#siblings.set(digest, this.#siblingCount * DIGEST_BYTES)
    this.#siblingCount += 1
  }
}
