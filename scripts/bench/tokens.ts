/**
 * Tokens per second of eight streams through relays, against the same engine called directly, both
 * with llama.cpp and the tiny model in a process of its own, in turn.
 * Run: npx tsc && node dist/scripts/bench/tokens.js
 */
import { Pool } from 'undici'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { tinyModelPath } from '../../src/config/root.ts'
import { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { LLAMACPP_DEFAULTS } from '../../src/inference/llamacpp/options.ts'
import { decodeHttpResponse } from '../../src/protocol/http.ts'
import { decodeRelayResponse, encodeRelayRequest } from '../../src/protocol/relay.ts'
import { chatRequest, Network } from '../../test/support/network.ts'
import { host, percentile, row } from './measure.ts'

const STREAMS = 8
const ROUNDS = 5
const EACH = 6
const PROMPT = 'What is 17 + 25? What is 31 + 16?'

/** Tokens per second of all streams together. */
async function rate(one: (stream: number, turn: number) => Promise<number>): Promise<number> {
  const start = performance.now()
  const tokens = await Promise.all(
    Array.from({ length: STREAMS }, async (_, stream) => {
      let sum = 0
      for (let turn = 0; turn < EACH; turn++) sum += await one(stream, turn)
      return sum
    }),
  )
  return tokens.reduce((a, b) => a + b, 0) / ((performance.now() - start) / 1_000)
}

const bench = host()
try {
  const network = await Network.open(bench, {
    engine: 'tiny',
    slots: STREAMS,
    stake: 10n ** 15n,
    params: { shared: { numBlocksPerSession: 60n } },
  })
  await network.start(['--log-level', 'warn'])
  const engine = new LlamaCppBackend(
    { clock: systemClock, log: silentLog(), random: Math.random },
    {
      ...LLAMACPP_DEFAULTS,
      model: 'tiny-chat',
      modelPath: tinyModelPath(),
      contextSize: 256,
      slots: STREAMS,
      gpu: false,
      threadsMax: 1,
      environment: { PATH: process.env['PATH'] ?? '' },
      recordFile: `${network.folder}/engine-direct.json`,
    },
  )
  await engine.start()
  const signal = new AbortController().signal
  const direct = async (stream: number, turn: number) => {
    const messages = [{ role: 'user' as const, content: `${PROMPT} ${stream} ${turn}` }]
    const { usage } = await engine.generate(
      {
        kind: 'chat',
        messages,
        tools: [],
        toolChoice: 'none',
        parallelToolCalls: true,
        format: { kind: 'text' },
        maxTokens: 64,
        temperature: 0,
        stop: [],
      },
      { signal },
    )
    return usage.completionTokens
  }
  // The gateway's own work (a ring signature costs more than a verification) is done beforehand.
  const session = await network.session()
  const operator = network.operators[0]?.signer.address ?? ''
  const pool = new Pool(network.relayUrl, { connections: STREAMS })
  const sign = async () => {
    const signed: Uint8Array[] = []
    for (let i = 0; i < STREAMS * EACH; i++) {
      const inner = chatRequest(`${PROMPT} ${i % STREAMS} ${Math.floor(i / STREAMS)}`, {
        max_tokens: 64,
        temperature: 0,
      })
      signed.push(encodeRelayRequest(await network.gateway.sign(session, operator, inner, signal)))
    }
    return signed
  }
  let bodies = await sign()
  const relayed = async (stream: number, turn: number) => {
    const body = bodies[turn * STREAMS + stream] ?? new Uint8Array(0)
    const { body: answer } = await pool.request({ path: '/', method: 'POST', body })
    const { payload } = decodeRelayResponse(new Uint8Array(await answer.arrayBuffer()))
    const { usage } = JSON.parse(Buffer.from(decodeHttpResponse(payload).body).toString())
    return Number(usage.completion_tokens)
  }
  await rate(direct)
  await rate(relayed)
  const ratios: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    bodies = await sign()
    const [a, b] = [await rate(direct), await rate(relayed)]
    ratios.push(b / a)
    row(
      `round ${round + 1}: engine alone ${a.toFixed(0)} tokens/s, through relays ${b.toFixed(0)}`,
      `ratio ${(b / a).toFixed(2)}`,
    )
  }
  row('median ratio, relays to engine alone', percentile(ratios, 0.5).toFixed(2))
  await pool.close()
  await engine.stop()
} finally {
  await bench.close()
}
