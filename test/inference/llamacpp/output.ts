import fc from 'fast-check'
import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { StopFilter, TextStream } from '../../../src/inference/llamacpp/output.ts'

/** A vocabulary whose tokens are any bytes: token n is the n-th entry. */
function vocabulary(entries: readonly Uint8Array[]) {
  return {
    tokens: entries.map((_, at) => at as Token),
    detokenize: (tokens: readonly Token[]) =>
      Buffer.concat(tokens.map((token) => entries[token] ?? new Uint8Array())).toString('utf8'),
  }
}

/** Text cut into tokens at any byte, also inside a character. */
const cutText = fc
  .tuple(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.array(fc.nat(160), { maxLength: 20 }))
  .map(([text, cuts]) => {
    const bytes = Buffer.from(text, 'utf8')
    const at = [...new Set(cuts.filter((cut) => cut > 0 && cut < bytes.length))].sort(
      (a, b) => a - b,
    )
    const entries = [0, ...at].map((start, i) => bytes.subarray(start, at[i] ?? bytes.length))
    return { text, entries }
  })

function stream(entries: readonly Uint8Array[], stop: readonly string[] = []) {
  const { tokens, detokenize } = vocabulary(entries)
  const output = new TextStream({ detokenize }, stop)
  const pieces: string[] = []
  for (const token of tokens) {
    pieces.push(output.push(token).text)
    if (output.stopped) break
  }
  pieces.push(output.end().text)
  return { pieces, text: pieces.join(''), stopped: output.stopped }
}

t.test('characters are never cut, wherever tokens end', async () => {
  fc.assert(
    fc.property(cutText, ({ text, entries }) => {
      const { pieces, text: out } = stream(entries)
      return out === text && pieces.every((piece) => !piece.includes('\ufffd'))
    }),
  )
})

t.test('a character that the end cuts off is left out', async (t) => {
  const bytes = Buffer.from('ab€', 'utf8')
  t.strictSame(stream([bytes.subarray(0, 1), bytes.subarray(1, 4)]).pieces, ['a', '', 'b'])
})

t.test('bytes that never become a character do not hold the answer back for ever', async (t) => {
  const { pieces } = stream(Array.from({ length: 40 }, () => Uint8Array.of(0xff)))
  t.ok(pieces.slice(0, 20).join('').length > 0, 'shown as they are')
})

/** The rule, letter by letter: the text ends where the first complete stop string begins. */
function cutAt(text: string, stops: readonly string[]): string {
  for (let end = 1; end <= text.length; end++) {
    const starts = stops
      .filter((stop) => stop !== '' && text.slice(0, end).endsWith(stop))
      .map((stop) => end - stop.length)
    if (starts.length > 0) return text.slice(0, Math.min(...starts))
  }
  return text
}

t.test('text ends before the first stop string, however it arrives', async () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\n'), maxLength: 4 })
  fc.assert(
    fc.property(
      fc.array(word, { maxLength: 20 }),
      fc.array(word, { maxLength: 4 }),
      (parts, stops) => {
        const filter = new StopFilter(stops)
        const out: string[] = []
        for (const part of parts) {
          out.push(filter.push(part))
          // What is out can't be taken back, so it must be right at every moment.
          if (!cutAt(parts.join(''), stops).startsWith(out.join(''))) return false
          if (filter.stopped) break
        }
        out.push(filter.end())
        const text = parts.join('')
        const want = cutAt(text, stops)
        return out.join('') === want && filter.stopped === (want !== text)
      },
    ),
    { numRuns: 2_000 },
  )
})

t.test('a stop string over several tokens is never shown in part', async (t) => {
  const entries = ['Count: 1', ' EN', 'D', ' 2'].map((text) => Buffer.from(text))
  t.strictSame(stream(entries, [' END']), {
    pieces: ['Count: 1', '', '', ''],
    text: 'Count: 1',
    stopped: true,
  })
  t.strictSame(
    stream(entries.slice(0, 2), [' END']).pieces,
    ['Count: 1', '', ' EN'],
    'what only began like one is shown at the end',
  )
})

t.test('a stop string of half a surrogate pair is no reason to cut one', async (t) => {
  const filter = new StopFilter(['😁'])
  t.equal(filter.push('😀'), '😀')
})

t.test(
  'notes come out with the text that they belong to, and none is lost or doubled',
  async () => {
    fc.assert(
      fc.property(cutText, fc.array(fc.string({ minLength: 1, maxLength: 3 })), (cut, stops) => {
        const { tokens, detokenize } = vocabulary(cut.entries)
        const output = new TextStream<number>({ detokenize }, stops)
        const notes: number[] = []
        let text = ''
        for (const token of tokens) {
          const shown = output.push(token, token)
          text += shown.text
          notes.push(...shown.notes)
          // Every character that is shown has its note by now.
          const bytes = notes.reduce((sum, at) => sum + (cut.entries[at]?.length ?? 0), 0)
          if (Buffer.byteLength(text) > bytes) return false
          if (output.stopped) break
        }
        notes.push(...output.end().notes)
        return notes.every((note, at) => note === at)
      }),
    )
  },
)

t.test('the first tokens are told apart, until they are shown', async (t) => {
  const euro = Buffer.from('€')
  const words = [euro.subarray(0, 2), euro.subarray(2), Buffer.from(' one')]
  const { tokens, detokenize } = vocabulary(words)
  const heard: [number, boolean][] = []
  const spy = (tokens: readonly Token[], isFirst: boolean) => {
    heard.push([tokens.length, isFirst])
    return detokenize(tokens)
  }
  const output = new TextStream({ detokenize: spy }, [])
  for (const token of tokens) output.push(token)
  t.strictSame(heard, [
    [1, true],
    [2, true],
    [1, false],
  ])
})
