/** Streams in signed frames, from the engine to a caller, are relays like all others: claimed and paid. */
import OpenAI from 'openai'
import t from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { GatewayServer } from '../../src/devnet/gateway-server.ts'
import { type RelayedStream, relayStream } from '../../src/devnet/gateway-stream.ts'
import { chatRequest, field, Network, SERVICE, until } from '../support/network.ts'
import { saidIn, textIn } from '../support/relay-stream.ts'

const never = new AbortController().signal

/** The tiny model, which answers sums. */
const streaming = (how: string) => ({
  services: [
    {
      id: SERVICE,
      streaming: how,
      backend: {
        ...{ kind: 'llamacpp', model: 'tiny', gpu: 'off' },
        ...{ slots: 4, contextSize: 256, maxThreads: 1 },
      },
    },
  ],
})

async function stream(
  network: Network,
  prompt: string,
  options: { onText?: (text: Uint8Array) => void; signal?: AbortSignal } = {},
): Promise<RelayedStream> {
  const { gateway } = network
  const { signal = never, ...more } = options
  const inner = chatRequest(prompt, { stream: true, temperature: 0, ...LONG })
  const { url, request } = await gateway.prepare(SERVICE, inner, signal)
  return await relayStream(gateway, { url, request, method: 'POST' }, signal, more)
}

const LONG = { max_tokens: 150, stream_options: { include_usage: true } }

t.test('streams are claimed, proven and paid, each as one relay', async (t) => {
  const network = await Network.open(t, { config: streaming('batched') })
  await network.start()
  const relayed = await Promise.all(
    Array.from({ length: 6 }, (_, n) => stream(network, `What is ${n} + 25?`)),
  )
  for (const [n, one] of relayed.entries()) {
    t.match(one, { verified: true, fault: '', error: undefined }, `stream ${n}`)
    t.match(textIn(one), /"usage":{"prompt_tokens":\d+,.*data: \[DONE\]\n\n$/s, `stream ${n}`)
    t.ok(saidIn(textIn(one)).length > 0, `stream ${n}`)
  }
  const whole = await network.gateway.relay(
    SERVICE,
    chatRequest('What is 0 + 25?', { temperature: 0, max_tokens: 150 }),
    never,
  )
  const { choices } = JSON.parse(Buffer.from(whole.inner?.body ?? []).toString())
  t.equal(choices[0].message.content, saidIn(textIn(relayed[0] as RelayedStream)))

  await t.test('through the official client, as tokens come', async (t) => {
    const server = new GatewayServer(
      { gateway: network.gateway, log: silentLog() },
      { host: '127.0.0.1', port: 0, serviceId: SERVICE, bodyMax: 100_000 },
    )
    const at = await server.listen()
    t.teardown(() => server.stop())
    const client = new OpenAI({ baseURL: `${at}/v1`, apiKey: 'none', maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: 'What is 0 + 25?' }]
    const events = await client.chat.completions.create({
      model: 'any',
      messages,
      temperature: 0,
      max_tokens: 150,
      stream: true,
    })
    let said = ''
    for await (const event of events) said += event.choices[0]?.delta.content ?? ''
    t.equal(said, choices[0].message.content)
  })

  await t.test('but not that of a caller who left', async (t) => {
    const gone = new AbortController()
    const onText = () => gone.abort(new RangeError('gone'))
    await t.rejects(stream(network, 'What is 3 + 4?', { onText, signal: gone.signal }))
    await until(async () => (await network.report())?.relays['inFlight'] === 0, 'it has ended')
  })

  const mined = Number((await network.report())?.relays['mined'])
  t.ok(mined === 8 || mined === 9, `${mined}: who leaves when all is written is too late`)
  await network.mineTo(10)
  t.equal(field(network.named('ProofValidityChecked')[0], 'failure_reason'), '')
  await network.mineTo(14)
  const paid = network.named('ClaimSettled').map((event) => field(event, 'num_relays'))
  t.strictSame(paid, [String(mined)])
  t.equal((await network.report())?.earnings.lostUpokt, '0')
})

t.test('a supplier that is killed pays for no stream that it did not end', async (t) => {
  const network = await Network.open(t, { config: streaming('refuse') })
  await network.start()
  const whole = await stream(network, 'What is 1 + 1?')
  t.equal(whole.fault, '', 'asked for by name, whatever the setting is')
  let begun = 0
  const running = Array.from({ length: 4 }, (_, n) =>
    stream(network, `What is ${n} + ${n}?`, { onText: () => begun++ }).catch(() => undefined),
  )
  await until(() => begun > 0, 'a frame has come')
  await network.stop('SIGKILL')
  const ended = (await Promise.all(running)).filter((one) => one?.verified === true)
  await network.start()
  await network.mineTo(14)
  const [settled] = network.named('ClaimSettled')
  const count = Number(field(settled, 'num_relays'))
  t.ok(count >= 1 + ended.length && count <= 5, `${count} settled, ${1 + ended.length} ended`)
})
