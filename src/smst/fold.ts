/**
 * Root and closest proof of a session's tree, each by one pass over its leaves in path order.
 *
 * No tree is kept. A leaf set has exactly one root, whatever the order of insertion:
 *
 *     root(leaves, depth) = PLACEHOLDER                for none
 *                         = the leaf's digest           for one, at whatever depth
 *                         = inner(root(left, depth+1), root(right, depth+1))   split by bit `depth`
 *
 * and sorted leaves meet it like a walk along the bottom: two neighbours part at the depth of their
 * first differing bit, so whatever lies deeper is complete. What is not complete is a stack of inner
 * nodes with a left side and no right side yet, at most one for each depth.
 * Source: pokt-network/smt smst.go, extension_node.go, proofs.go. Tested by test/smst/fold.ts.
 */
import { assert } from '../base/errors.ts'
import { Candidate } from './candidate.ts'
import { SmstError } from './errors.ts'
import { bitAt, DIGEST_BYTES, InnerNode, PATH_BYTES } from './node.ts'

export interface Leaf {
  /** 32 bytes: the hash of the relay hash. */
  readonly path: Uint8Array
  /** 48 bytes, see `leafDigest`. */
  readonly digest: Uint8Array
}

/** The leaf that a target path leads to, and what proves that it is there. */
export interface Closest {
  readonly target: Uint8Array
  readonly path: Uint8Array
  readonly digest: Uint8Array
  /** Depths, ascending, at which only the other side had leaves. */
  readonly flippedBits: readonly number[]
  /** Siblings from the leaf up, deepest first; PLACEHOLDER where a side is empty. */
  readonly sideNodes: readonly Uint8Array[]
  readonly root: Uint8Array
}

/**
 * The 48-byte root; PLACEHOLDER for no leaves. Sum and count are in it.
 *
 * A synchronous source is folded without giving way: hundreds of thousands of leaves belong into a
 * `RootFold`, a batch at a time. @throws SmstError ORDER, LEAF
 */
export async function foldRoot(leaves: AsyncIterable<Leaf> | Iterable<Leaf>): Promise<Uint8Array> {
  const fold = new RootFold()
  await feed(fold, leaves)
  return fold.finish()
}

/**
 * The leaf closest to `target` (32 bytes): at every depth the side of the target's bit, or the other
 * side where that one is empty. @throws SmstError ORDER, LEAF, EMPTY
 */
export async function foldClosest(
  leaves: AsyncIterable<Leaf> | Iterable<Leaf>,
  target: Uint8Array,
): Promise<Closest> {
  const fold = new ClosestFold(target)
  await feed(fold, leaves)
  return fold.finish()
}

/** Takes leaves in strictly ascending order of path; path and digest are copied. */
export class RootFold {
  /** Inner nodes with a left side only, from shallow to deep; those past `#open` wait to be used again. */
  readonly #nodes: InnerNode[] = []
  readonly #depths: number[] = []
  #open = 0
  /** The subtree to the right of all of them, and a path in it. */
  readonly #digest = new Uint8Array(DIGEST_BYTES)
  readonly #path = new Uint8Array(PATH_BYTES)
  #state: 'empty' | 'folding' | 'finished' = 'empty'
  /** Inner nodes with one empty side; the other side is set before each use. */
  readonly #onlyLeft = new InnerNode()
  readonly #onlyRight = new InnerNode()
  readonly #candidate: Candidate | undefined

  /** @param candidate told of every step; for `ClosestFold` */
  constructor(candidate?: Candidate) {
    this.#candidate = candidate
  }

  /** @throws SmstError ORDER for the same path again or a smaller one, LEAF for a wrong length */
  push(path: Uint8Array, digest: Uint8Array): void {
    assert(this.#state !== 'finished', 'a finished fold takes no more leaves')
    if (path.length !== PATH_BYTES || digest.length !== DIGEST_BYTES)
      throw new SmstError('LEAF', `a leaf of ${path.length} and ${digest.length} bytes`, {
        data: { path: path.length, digest: digest.length },
      })
    if (this.#state === 'folding') {
      const depth = parting(this.#path, path)
      this.#close(depth)
      this.#openAt(depth)
    }
    this.#state = 'folding'
    this.#path.set(path)
    this.#digest.set(digest)
    this.#candidate?.leaf(path, digest)
  }

  /** The root. Ends the fold. */
  finish(): Uint8Array {
    assert(this.#state !== 'finished', 'a fold finishes once')
    this.#close(-1)
    this.#state = 'finished'
    return this.#digest.slice()
  }

  /** The subtree so far becomes the left side of an inner node at `depth`. */
  #openAt(depth: number): void {
    const node = this.#nodes[this.#open] ?? new InnerNode()
    this.#nodes[this.#open] = node
    this.#depths[this.#open] = depth
    this.#open += 1
    node.setLeft(this.#digest)
    this.#candidate?.opened(depth)
  }

  /** Completes every inner node deeper than `depth`, and carries the subtree up to just below it. */
  #close(depth: number): void {
    while (this.#open > 0) {
      const at = this.#depths[this.#open - 1] ?? -1
      const node = this.#nodes[this.#open - 1]
      if (node === undefined || at <= depth) return
      this.#open -= 1
      this.#candidate?.joined(at, node.left, this.#digest)
      node.setRight(this.#digest)
      node.digestInto(this.#digest)
      const above = Math.max(depth, this.#open > 0 ? (this.#depths[this.#open - 1] ?? -1) : -1)
      for (let level = at - 1; level > above; level--) this.#wrap(level)
    }
  }

  /** Nothing lies on the other side at `depth`: the inner node has one child. */
  #wrap(depth: number): void {
    const side = bitAt(this.#path, depth)
    if (side === 0) {
      this.#onlyLeft.setLeft(this.#digest)
      this.#onlyLeft.digestInto(this.#digest)
    } else {
      this.#onlyRight.setRight(this.#digest)
      this.#onlyRight.digestInto(this.#digest)
    }
    this.#candidate?.wrapped(depth, side)
  }
}

/** `RootFold` that also finds the closest leaf. */
export class ClosestFold {
  readonly #candidate: Candidate
  readonly #fold: RootFold

  /** @param target 32 bytes */
  constructor(target: Uint8Array) {
    assert(target.length === PATH_BYTES, 'a target is a path')
    this.#candidate = new Candidate(target)
    this.#fold = new RootFold(this.#candidate)
  }

  /** As `RootFold.push`. */
  push(path: Uint8Array, digest: Uint8Array): void {
    this.#fold.push(path, digest)
  }

  /** Ends the fold. @throws SmstError EMPTY */
  finish(): Closest {
    const root = this.#fold.finish()
    return { ...this.#candidate.found(), root }
  }
}

async function feed(
  fold: RootFold | ClosestFold,
  leaves: AsyncIterable<Leaf> | Iterable<Leaf>,
): Promise<void> {
  if (Symbol.iterator in leaves) for (const leaf of leaves) fold.push(leaf.path, leaf.digest)
  else for await (const leaf of leaves) fold.push(leaf.path, leaf.digest)
}

/** The depth of the first bit in which two paths differ. @throws SmstError ORDER unless `next` is larger */
function parting(path: Uint8Array, next: Uint8Array): number {
  for (let i = 0; i < PATH_BYTES; i++) {
    const was = path[i] ?? 0
    const is = next[i] ?? 0
    if (is === was) continue
    if (is < was) throw new SmstError('ORDER', 'a leaf came after a larger path')
    return 8 * i + Math.clz32(is ^ was) - 24
  }
  throw new SmstError('ORDER', 'the same path came twice')
}
