/**
 * What the readers of a growing answer share. Tested by test/inference/thoughts.ts and tools.ts.
 */

export interface ThoughtDelta {
  readonly reasoning: string
  readonly text: string
}

/** An answer told apart into thoughts and text, while it comes. */
export interface ThoughtStream {
  /** What comes next is part of a thought, as far as it is known. */
  readonly isInside: boolean
  push(text: string): ThoughtDelta
  /** What was held back, when no more text comes. */
  end(): ThoughtDelta
}

/** How much of `text` can't be the beginning of one of `marks`. */
export function certain(text: string, marks: readonly string[]): number {
  const longest = Math.max(...marks.map((mark) => mark.length))
  for (let at = Math.max(0, text.length - longest + 1); at < text.length; at++) {
    const rest = text.slice(at)
    if (marks.some((mark) => mark.startsWith(rest))) return at
  }
  return text.length
}

/** Which of `marks` comes first in `text`, and where. */
export function firstOf(
  text: string,
  marks: readonly string[],
): { readonly at: number; readonly mark: string } | undefined {
  let best: { at: number; mark: string } | undefined
  for (const mark of marks) {
    const at = text.indexOf(mark)
    if (at !== -1 && (best === undefined || at < best.at)) best = { at, mark }
  }
  return best
}
