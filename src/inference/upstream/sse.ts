/**
 * Server-sent events as servers of the OpenAI API write them: the data of each event, as text.
 *
 * Lines end with LF, CRLF or CR, comments are left out, a character or a line may be cut anywhere by the
 * network. Source: WHATWG HTML, "Server-sent events". Tested by test/inference/upstream/limits.ts.
 */
import { engineFailed } from '../errors.ts'

/** The data of one event, and how the stream ends. */
export const DONE = '[DONE]'

/**
 * @param eventBytesMax characters of one event, whatever it is made of
 * @throws InferenceError ENGINE_FAILED: longer events, bytes that are no UTF-8
 */
export async function* sseData(
  body: AsyncIterable<Uint8Array>,
  eventBytesMax: number,
): AsyncGenerator<string, void, undefined> {
  const lines = new Lines(eventBytesMax)
  let data: string[] = []
  let length = 0
  for await (const chunk of body) {
    for (const line of lines.push(chunk)) {
      if (line === '') {
        if (data.length > 0) yield data.join('\n')
        data = []
        length = 0
      } else if (/^data(:|$)/.test(line)) {
        data.push(line.replace(/^data:? ?/, ''))
        length += line.length
        if (length > eventBytesMax) throw tooLong(eventBytesMax)
      }
    }
  }
  // Some servers leave out the last empty line.
  const rest = lines.end()
  if (rest.startsWith('data:')) data.push(rest.replace(/^data: ?/, ''))
  if (data.length > 0) yield data.join('\n')
}

/** Bytes to lines without their ends. */
export class Lines {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  readonly #lengthMax: number
  /** Of the line that has not ended; not looked at again before it has. */
  #held = ''
  /** A CR at the end may be half of a CRLF. */
  #carry = ''

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax
  }

  push(chunk: Uint8Array): string[] {
    const text = this.#carry + decoded(() => this.#decoder.decode(chunk, { stream: true }))
    this.#carry = text.endsWith('\r') ? '\r' : ''
    const whole = text.slice(0, text.length - this.#carry.length)
    const [first = '', ...rest] = whole.split(/\r\n|\n|\r/)
    const begun = this.#held + first
    const last = rest.pop()
    this.#held = last ?? begun
    if (this.#held.length > this.#lengthMax) throw tooLong(this.#lengthMax)
    return last === undefined ? [] : [begun, ...rest]
  }

  /** What came after the last end of a line. */
  end(): string {
    const rest = this.#held + decoded(() => this.#decoder.decode())
    this.#held = ''
    return rest
  }
}

function decoded(decode: () => string): string {
  try {
    return decode()
  } catch {
    // Without the cause, which tells nothing more.
    throw engineFailed('the upstream answered with bytes that are no UTF-8')
  }
}

function tooLong(lengthMax: number): Error {
  return engineFailed(`the upstream sent more than ${lengthMax} characters at once`)
}
