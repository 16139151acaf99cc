/**
 * A stream of tokens in signed frames, as it comes.
 *
 * A frame is a whole signed response, whose payload is a piece of the text and has no headers, and the
 * delimiter. It leaves when its first event is old enough or when it is full, whether or not another
 * event comes. What came last stays here from `hold` to `last`: whoever reads must not have all of it
 * before the relay is durable. An engine's last events and its result come in one turn of the event loop,
 * so no tick gets in between.
 * The delimiter must not occur in a frame but at its end: a text that holds it is cut in its middle.
 * Source: pocket-relay-miner relayer/http_stream.go. Tests: test/relay/stream.ts, test/relay/streaming.ts.
 */
import { concat, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { OVER } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { encodeRelayResponse, type RelayMinerError, type RelayResponse } from '../protocol/relay.ts'

export const FRAME_DELIMITER = utf8('||POKT_STREAM||')

/** The way of frames to whoever asked. */
export interface FrameSink {
  /** They were asked for by name, whatever the service's setting is. */
  readonly isAsked: boolean
  /** Called once, before the first frame. What is answered in the end is then the last one. */
  open(): void
  /** Cuts the connection where too much is not taken. */
  send(frame: Uint8Array): void
}

export interface FrameStreamDeps {
  readonly clock: Clock
  readonly sink: FrameSink
  /** A signed response whose payload holds `body` and no headers. */
  readonly sign: (body: Uint8Array, error?: RelayMinerError) => RelayResponse
}

export interface FrameStreamOptions {
  /** How old the first event of a frame may become. */
  readonly ageMax: Ms
  /** A frame that has so much, in bytes or in events, takes no more. */
  readonly bytesMax: number
  readonly eventsMax: number
}

export const FRAME_STREAM_DEFAULTS: FrameStreamOptions = {
  ageMax: ms(100),
  bytesMax: 100 * 1024,
  eventsMax: 100,
}

export class FrameStream {
  readonly #deps: FrameStreamDeps
  readonly #options: FrameStreamOptions
  #held: Uint8Array[] = []
  #bytes = 0
  #isOpen = false
  /** Ends the wait for the age of what is held. */
  #tick: AbortController | undefined

  constructor(deps: FrameStreamDeps, options: FrameStreamOptions = FRAME_STREAM_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** A frame has left: what comes now is frames to the end. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Takes events of the stream as they come. */
  add(events: string): void {
    const { bytesMax, eventsMax } = this.#options
    // What is full leaves now, so that this one stays: it may be the last.
    if (this.#bytes >= bytesMax || this.#held.length >= eventsMax) this.#flush()
    const piece = utf8(events)
    this.#held.push(piece)
    this.#bytes += piece.length
    if (this.#tick === undefined) this.#wait()
  }

  /**
   * What ends the stream, delimiters included: what was held back, or `instead`.
   * @param error why the relay does not count
   */
  last(error?: RelayMinerError, instead?: string): Uint8Array {
    const body = instead === undefined ? concat(...this.#held) : utf8(instead)
    this.stop()
    this.#open()
    return concat(...this.#frames(body, error))
  }

  /** All has come: what is here waits for `last`, however old it becomes. */
  hold(): void {
    this.#tick?.abort(OVER)
    this.#tick = undefined
  }

  /** Nothing leaves any more. Idempotent. */
  stop(): void {
    this.hold()
    this.#held = []
    this.#bytes = 0
  }

  #wait(): void {
    const tick = new AbortController()
    this.#tick = tick
    this.#deps.clock.sleep(this.#options.ageMax, tick.signal).then(
      () => {
        if (this.#tick === tick) this.#flush()
      },
      () => {},
    )
  }

  #flush(): void {
    const body = concat(...this.#held)
    this.stop()
    this.#open()
    for (const frame of this.#frames(body)) this.#deps.sink.send(frame)
  }

  #open(): void {
    if (!this.#isOpen) this.#deps.sink.open()
    this.#isOpen = true
  }

  #frames(body: Uint8Array, error?: RelayMinerError): Uint8Array[] {
    const parts = withoutDelimiter(body)
    return parts.flatMap((part, at) =>
      this.#frame(part, at === parts.length - 1 ? error : undefined),
    )
  }

  #frame(body: Uint8Array, error: RelayMinerError | undefined): Uint8Array[] {
    const frame = concat(encodeRelayResponse(this.#deps.sign(body, error)), FRAME_DELIMITER)
    const end = frame.length - FRAME_DELIMITER.length
    if (Buffer.from(frame.buffer).indexOf(FRAME_DELIMITER) === end) return [frame]
    // The byte that says how long the text is (124 is a bar) makes the delimiter whole.
    const [first, rest] = [body.subarray(0, 1), body.subarray(1)]
    return [...this.#frame(first, undefined), ...this.#frame(rest, error)]
  }
}

/** The text in parts of which none holds the delimiter. */
function withoutDelimiter(body: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  const parts: Uint8Array[] = []
  let from = 0
  for (let at = bytes.indexOf(FRAME_DELIMITER); at !== -1; ) {
    const cut = at + Math.floor(FRAME_DELIMITER.length / 2)
    parts.push(body.subarray(from, cut))
    from = cut
    at = bytes.indexOf(FRAME_DELIMITER, at + 1)
  }
  return [...parts, body.subarray(from)]
}
