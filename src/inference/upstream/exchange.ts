/**
 * One request to one server: sent, its answer read piece by piece and checked.
 *
 * Tested by test/inference/upstream/backend.ts.
 */
import { utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { Ms } from '../../base/units.ts'
import { engineFailed, InferenceError } from '../errors.ts'
import type { Delta, Generation, GenerationRequest } from '../request.ts'
import { UpstreamAnswer } from './answer.ts'
import { withIdleLimit } from './idle.ts'
import { naming } from './refusal.ts'
import { type Dialect, requestBody } from './requests.ts'
import { type Reply, readAll, type UpstreamServer } from './server.ts'
import type { Spend } from './spend.ts'
import { DONE, sseData } from './sse.ts'

export interface ExchangeDeps {
  readonly clock: Clock
  /** At least 0 and below 1. */
  readonly random: () => number
  readonly server: UpstreamServer
  readonly spend: Spend
}

export interface ExchangeOptions {
  readonly dialect: Dialect
  readonly idleTimeout: Ms
  readonly eventBytesMax: number
}

/** Letters of one token in most languages. */
const LETTERS_PER_TOKEN = 4

/** @throws InferenceError; `signal.reason`; what `onDelta` throws */
export async function exchange(
  deps: ExchangeDeps,
  options: ExchangeOptions,
  request: GenerationRequest,
  { signal, onDelta }: { readonly signal: AbortSignal; readonly onDelta?: (delta: Delta) => void },
): Promise<Generation> {
  const { clock, random, server, spend } = deps
  const { dialect, idleTimeout, eventBytesMax } = options
  const path = request.kind === 'chat' ? '/chat/completions' : '/completions'
  const body = utf8(JSON.stringify(requestBody(request, dialect)))
  const emit = (delta: Delta) => {
    signal.throwIfAborted()
    onDelta?.(delta)
  }
  const answer = new UpstreamAnswer({ random, onDelta: emit }, request, server.model)
  const idle = { limit: idleTimeout, signal, late: () => engineFailed('the upstream fell silent') }
  let isSilent = true
  try {
    const made = await withIdleLimit(clock, idle, async (both, touch) => {
      return await naming(request.kind === 'chat' ? 'messages' : 'prompt', async () => {
        const reply = await server.send({ method: 'POST', path, body }, both)
        return await readAnswer(reply, answer, eventBytesMax, () => {
          isSilent = false
          touch()
          both.throwIfAborted()
        })
      })
    })
    spend.add(made.usage.promptTokens + made.usage.completionTokens)
    return made
  } catch (error) {
    // What was made until now is paid for all the same.
    if (answer.pieces > 0) spend.add(answer.pieces + Math.ceil(body.length / LETTERS_PER_TOKEN))
    const { reason } = signal
    const isLate = reason instanceof InferenceError && reason.code === 'ENGINE_TIMEOUT'
    if (isSilent && isLate) server.wasSilent()
    throw error
  }
}

/** A stream, or one body where the server does not stream. @param touch called for every event */
async function readAnswer(
  { headers, body }: Reply,
  answer: UpstreamAnswer,
  eventBytesMax: number,
  touch: () => void,
): Promise<Generation> {
  if (!String(headers['content-type'] ?? '').includes('text/event-stream')) {
    answer.take(readJson(await readAll(body)))
    return answer.end(true)
  }
  for await (const data of sseData(body, eventBytesMax)) {
    touch()
    if (data.trim() === DONE) return answer.end(true)
    answer.take(readJson(data))
  }
  return answer.end(false)
}

/** @throws InferenceError ENGINE_FAILED, without the cause: its message quotes the answer */
function readJson(data: string | Uint8Array): unknown {
  try {
    const isText = typeof data === 'string'
    const text = isText ? data : new TextDecoder('utf-8', { fatal: true }).decode(data)
    return JSON.parse(text) as unknown
  } catch {
    throw engineFailed('the upstream answered with something other than JSON')
  }
}
