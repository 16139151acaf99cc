/**
 * Relays through the whole daemon: HTTP, verify, sign, durable write, with an upstream that answers at
 * once; then what a relay adds to the latency of calling the upstream directly, beside the disk's own.
 * Run: npx tsc && node dist/scripts/bench/relays.js
 */
import { Pool, request } from 'undici'
import { encodeRelayRequest, type RelayRequest } from '../../src/protocol/relay.ts'
import { chatRequest, Network } from '../../test/support/network.ts'
import { host, percentile, processorSeconds, residentMiB, row, syncTimes } from './measure.ts'

const RELAYS = 4_000
const STREAMS = 64
const LATENCY_ROUNDS = 300
const signal = new AbortController().signal

async function signed(network: Network, count: number): Promise<RelayRequest[]> {
  const session = await network.session()
  const operator = network.operators[0]?.signer.address ?? ''
  const out: RelayRequest[] = []
  const padding = 'x'.repeat(1_500)
  for (let i = 0; i < count; i++) {
    out.push(
      await network.gateway.sign(
        session,
        operator,
        chatRequest(`${i} ${padding}`, { max_tokens: 4 }),
        signal,
      ),
    )
  }
  return out
}

async function throughput(network: Network): Promise<void> {
  const bodies = (await signed(network, RELAYS)).map(encodeRelayRequest)
  const pool = new Pool(network.relayUrl, { connections: STREAMS, pipelining: 1 })
  const pid = network.child?.pid ?? 0
  const send = async (body: Uint8Array) => {
    const { body: answer } = await pool.request({ path: '/', method: 'POST', body })
    await answer.arrayBuffer()
  }
  for (const body of bodies.splice(0, 500)) await send(body)
  const [cpu, wall] = [processorSeconds(pid), performance.now()]
  let next = 0
  await Promise.all(
    Array.from({ length: STREAMS }, async () => {
      for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) await send(body)
    }),
  )
  const seconds = (performance.now() - wall) / 1_000
  const used = processorSeconds(pid) - cpu
  await pool.close()
  const mined = (await network.report())?.relays['mined']
  row(`relays answered and made durable, of ${RELAYS}`, String(mined))
  row(
    `relays/s, ${STREAMS} streams, generator on the same machine`,
    (bodies.length / seconds).toFixed(0),
  )
  row('relays per second of processor time (one core)', (bodies.length / used).toFixed(0))
  row('processor time per relay', `${((used / bodies.length) * 1e6).toFixed(0)} us`)
  row('resident memory of the daemon', `${residentMiB(pid).toFixed(0)} MiB`)
}

async function latency(network: Network): Promise<void> {
  const requests = await signed(network, LATENCY_ROUNDS + 20)
  const direct: number[] = []
  const relayed: number[] = []
  const body = JSON.stringify({
    model: 'echo',
    messages: [{ role: 'user', content: 'x'.repeat(1_500) }],
    max_tokens: 4,
  })
  for (const [i, relay] of requests.entries()) {
    const start = performance.now()
    const answer = await request(`${network.upstream.url}/chat/completions`, {
      method: 'POST',
      body,
    })
    await answer.body.arrayBuffer()
    const middle = performance.now()
    const back = await request(network.relayUrl, {
      method: 'POST',
      body: encodeRelayRequest(relay),
    })
    await back.body.arrayBuffer()
    const end = performance.now()
    if (i < 20) continue
    direct.push(middle - start)
    relayed.push(end - middle)
  }
  const sync = await syncTimes(network.folder, LATENCY_ROUNDS)
  for (const share of [0.5, 0.99]) {
    const name = `p${share * 100}`
    const [a, b, c] = [
      percentile(direct, share),
      percentile(relayed, share),
      percentile(sync, share),
    ]
    row(
      `${name}: direct ${a.toFixed(2)}, relayed ${b.toFixed(2)}, disk sync ${c.toFixed(2)} ms`,
      `added ${(b - a).toFixed(2)} ms, over the sync ${(b - a - c).toFixed(2)} ms`,
    )
  }
}

const bench = host()
try {
  const stake = 10n ** 15n
  const network = await Network.open(bench, {
    stake,
    params: { shared: { numBlocksPerSession: 60n } },
    config: { log: { level: 'warn' } },
  })
  await network.start(['--log-level', 'warn'])
  await throughput(network)
  await latency(network)
} finally {
  await bench.close()
}
