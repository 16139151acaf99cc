/**
 * Engine processes that do one thing wrong, as plain JavaScript that Node runs without a compiler.
 *
 * A good one answers a load with `ready`, a ping with a pong (its speed is the number of pongs), a chat
 * with its last message, word by word. `ready` is what it says of itself besides.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Test } from 'tap'

const GOOD = `
let steps = 0
let active = 0
let pongs = 0
let ready = {}
const say = (message) => process.send(message)
const on = {
  load: ({ slots }) => say({
    type: 'ready', device: 'fake', contextSize: 256, slots, threads: 1, engine: 'fake 1', onCpu: true, hasGpu: false,
    vocabularySize: 640, templateSha256: '0'.repeat(64), tokenizerSha256: '1'.repeat(64), quantisation: 'Q8_0',
    thinking: false, infill: false, ...ready,
  }),
  ping: ({ id }) => say({ type: 'pong', id, steps, active, tokensPerSecond: ++pongs }),
  abort: ({ id }) => say({ type: 'refused', id, code: 'STOPPED', message: 'aborted', data: {} }),
  generate({ id, prompt }) {
    const words = prompt.messages.at(-1).content.split(' ')
    for (const text of words) say({ type: 'delta', id, text })
    const completionTokens = words.length
    say({ type: 'done', id, finishReason: 'stop', promptTokens: 1, cachedTokens: 0, completionTokens, reasoningTokens: 0 })
  },
}
process.on('message', (message) => on[message.type](message))
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
`

/** @param fault statements that run after those of a good engine; `on` holds its answers */
export function fakeEngine(t: Test, fault = ''): URL {
  const folder = t.testdir({ 'engine.mjs': `${GOOD}\n${fault}\n` })
  return pathToFileURL(join(folder, 'engine.mjs'))
}

/** Lets what other processes said arrive, until it did. */
export async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 1))
}
