/**
 * Which model goes onto which cards. Pure.
 *
 * The important and the large ones first, each onto the card on which it leaves the least room over; what fits
 * onto no card alone is spread over several of one maker; what has room nowhere goes where the most is, and takes
 * turns there or lies partly in the machine's memory. Tested by test/gpu/placement.ts.
 */
import type { GpuVendor } from './sample.ts'

export interface Card {
  readonly id: string
  readonly vendor: GpuVendor
  /** Bytes that models may take there; absent: not known, and taken for enough. */
  readonly room?: number
  /** Its owner needs it now. */
  readonly isTaken: boolean
}

export interface Wish {
  readonly key: string
  /** With its context; 0: not known. */
  readonly bytes: number
  readonly priority: number
  /** Ids or numbers of cards; absent: any. */
  readonly cards?: readonly (string | number)[]
}

/** By the key of the wish: ids of cards; none: the machine has no card for it. */
export type Placement = ReadonlyMap<string, readonly string[]>

/** @param cards in the order of their numbers */
export function place(wishes: readonly Wish[], cards: readonly Card[]): Placement {
  const left = new Map(cards.map(({ id, room = Number.POSITIVE_INFINITY }) => [id, room]))
  const found = new Map<string, readonly string[]>()
  const order = [...wishes].sort((a, b) => b.priority - a.priority || b.bytes - a.bytes)
  for (const wish of order) {
    const allowed = allowedFor(wish, cards)
    const usable = allowed.filter(({ isTaken }) => !isTaken)
    // Where all are taken it waits on one of them, and says whose.
    const ids =
      wish.cards === undefined
        ? choose(wish, usable.length > 0 ? usable : allowed, left)
        : allowed.map(({ id }) => id)
    found.set(wish.key, ids)
    const share = ids.length === 0 ? 0 : wish.bytes / ids.length
    for (const id of ids) left.set(id, (left.get(id) ?? 0) - share)
  }
  return found
}

function allowedFor({ cards: wanted }: Wish, cards: readonly Card[]): readonly Card[] {
  if (wanted === undefined) return cards
  return cards.filter(({ id }, number) => wanted.includes(id) || wanted.includes(number))
}

function choose(
  { bytes }: Wish,
  cards: readonly Card[],
  left: ReadonlyMap<string, number>,
): string[] {
  const roomOf = (id: string) => left.get(id) ?? 0
  const fitting = cards
    .filter(({ id }) => roomOf(id) >= bytes)
    .sort((a, b) => compare(roomOf(a.id), roomOf(b.id)))
  const [tightest] = fitting
  if (tightest !== undefined) return [tightest.id]
  return spread(bytes, cards, roomOf) ?? roomiest(cards, roomOf)
}

/** Over as few cards of one maker as it takes; undefined: not even all of them have room. */
function spread(
  bytes: number,
  cards: readonly Card[],
  roomOf: (id: string) => number,
): string[] | undefined {
  const sets = [...new Set(cards.map(({ vendor }) => vendor))].flatMap((vendor) => {
    const ofMaker = cards.filter((card) => card.vendor === vendor && roomOf(card.id) > 0)
    const ids = ofMaker.map(({ id }) => id).sort((a, b) => compare(roomOf(b), roomOf(a)))
    const sumOf = (count: number) => ids.slice(0, count).reduce((sum, id) => sum + roomOf(id), 0)
    const enough = ids.findIndex((_, index) => sumOf(index + 1) >= bytes)
    return enough === -1 ? [] : [ids.slice(0, enough + 1)]
  })
  return sets.sort((a, b) => a.length - b.length)[0]
}

function roomiest(cards: readonly Card[], roomOf: (id: string) => number): string[] {
  const [most] = [...cards].sort((a, b) => compare(roomOf(b.id), roomOf(a.id)))
  return most === undefined ? [] : [most.id]
}

/** As a difference, which two infinities have not. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a - b
}
