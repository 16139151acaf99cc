/** The built-in engine behind real relays: llama.cpp with the tiny model, which knows its answers by heart. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { startTime } from '../../src/base/process-time.ts'
import type { HttpRequest } from '../../src/protocol/http.ts'
import { chatRequest, field, Network, SERVICE, until } from '../support/network.ts'
import { ANSWERS } from '../support/tiny-model.ts'

const SLOTS = 4
const BODY_BYTES_MIN = 100
const SUM = 'What is 17 + 25?'
const SUM_ANSWER = '10 + 20 = 30 and 7 + 5 = 12, so 17 + 25 = 42'

interface Completion {
  readonly object: string
  readonly model: string
  readonly usage: {
    readonly prompt_tokens: number
    readonly completion_tokens: number
    readonly total_tokens: number
  }
  readonly choices: readonly [
    { readonly message: { readonly content: string }; readonly finish_reason: string },
  ]
}

/** Asks by a relay, which must be good in every way but the inner status. */
async function ask(t: Test, network: Network, inner: HttpRequest, name: string) {
  const signal = new AbortController().signal
  const relayed = await network.gateway.relay(SERVICE, inner, signal)
  t.equal(relayed.verified, true, `${name}: ${relayed.fault}`)
  t.equal(relayed.error, undefined, name)
  const body = relayed.inner?.body ?? new Uint8Array(0)
  t.ok(body.length >= BODY_BYTES_MIN, `${name}: ${body.length} bytes are enough for a gateway`)
  return { status: relayed.inner?.status, body: JSON.parse(new TextDecoder().decode(body)) }
}

async function chat(
  t: Test,
  network: Network,
  prompt: string,
  extra: Record<string, unknown> = {},
): Promise<{ text: string; reason: string; completion: Completion }> {
  const name = `${prompt} ${JSON.stringify(extra)}`
  const { status, body } = await ask(t, network, chatRequest(prompt, extra), name)
  t.equal(status, 200, name)
  const completion = body as Completion
  const [choice] = completion.choices
  return { text: choice.message.content, reason: choice.finish_reason, completion }
}

function enginePid(network: Network): Promise<number> {
  const path = join(network.folder, 'data', `engine-${SERVICE}.json`)
  return readFile(path, 'utf8').then((text) => Number(JSON.parse(text).pid))
}

t.test('the tiny model through relays', async (t) => {
  const network = await Network.open(t, { engine: 'tiny', deadline: '90s' })
  await network.start()
  let mined = 0

  await t.test('answers the expected text, again and again, and counts its tokens', async (t) => {
    for (const [question, answer] of ANSWERS) {
      const { text, reason, completion } = await chat(t, network, question)
      t.equal(text, answer, question)
      t.equal(reason, 'stop', question)
      const { usage, object, model } = completion
      t.match({ object, model }, { object: 'chat.completion', model: 'tiny-chat' }, question)
      t.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0, question)
      t.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, question)
      const again = await chat(t, network, question)
      t.equal(again.text, answer, `${question} again`)
      t.strictSame(again.completion.usage, usage, `${question} again`)
      mined += 2
    }
    const all = ANSWERS.map(([question]) => chat(t, network, question))
    const texts = (await Promise.all(all)).map(({ text }) => text)
    t.strictSame(
      texts,
      ANSWERS.map(([, answer]) => answer),
      'side by side too',
    )
    mined += ANSWERS.length
  })

  await t.test('minds max_tokens, stop and seed', async (t) => {
    const short = await chat(t, network, SUM, { max_tokens: 3 })
    t.equal(short.completion.usage.completion_tokens, 3)
    t.equal(short.reason, 'length')
    t.ok(short.text !== '' && SUM_ANSWER.startsWith(short.text), short.text)
    const stopped = await chat(t, network, SUM, { stop: [' and'] })
    t.strictSame([stopped.text, stopped.reason], ['10 + 20 = 30', 'stop'])
    const texts: string[] = []
    for (const seed of [1, 2, 3, 1, 2, 3]) {
      const wish = { seed, temperature: 2, top_p: 1, max_tokens: 24 }
      texts.push((await chat(t, network, 'Hello!', wish)).text)
    }
    t.strictSame(texts.slice(3), texts.slice(0, 3), 'the same seed gives the same text')
    t.ok(new Set(texts).size > 1, 'and another seed another')
    mined += 8
  })

  await t.test('knows what is meant at the bare path, and lists its model', async (t) => {
    const bare = { ...chatRequest(SUM), url: 'http://gateway.test/' }
    const answer = await ask(t, network, bare, 'POST /')
    t.equal((answer.body as Completion).choices[0].message.content, SUM_ANSWER)
    const empty = await ask(t, network, { ...bare, body: Buffer.from('{}') }, 'POST / of nothing')
    t.equal(empty.status, 400)
    const url = 'http://gateway.test/v1/models'
    const list = await ask(t, network, { ...bare, method: 'GET', url, body: Buffer.alloc(0) }, url)
    t.match(list, { status: 200, body: { object: 'list', data: [{ id: 'tiny-chat' }] } })
    mined += 3
    t.equal((await network.report())?.relays['mined'], mined, 'each of these counts')
  })

  await t.test('an engine that is killed costs the relays that it had, and no more', async (t) => {
    const pid = await enginePid(network)
    process.kill(pid, 'SIGSTOP')
    const relays = Array.from({ length: 2 * SLOTS }, () => network.relay(SUM))
    await until(async () => {
      const report = await network.report()
      return report?.relays.inFlight === 2 * SLOTS && report.engines[0]?.active === SLOTS
    }, 'every slot has a relay, and as many wait')
    process.kill(pid, 'SIGKILL')
    const all = await Promise.all(relays)
    t.ok(
      all.every(({ verified }) => verified),
      'every answer is signed',
    )
    const failed = all.filter(({ inner }) => inner?.status === 502)
    t.equal(failed.length, SLOTS, 'those in the engine fail')
    for (const { error } of failed) t.match(error, { codespace: 'relayer_proxy', code: 5 })
    const good = all.filter(({ inner, error }) => inner?.status === 200 && error === undefined)
    t.equal(good.length, SLOTS, 'those that wait are answered by the next')
    t.equal((await chat(t, network, SUM)).text, SUM_ANSWER, 'and so are those that come')
    mined += SLOTS + 1
    t.not(await enginePid(network), pid)
    t.match((await network.report())?.relays, { mined, failed: SLOTS })
  })

  await t.test('the claim has every answered relay and no failed one', async (t) => {
    await network.mineTo(10)
    const claims = network.named('ClaimCreated').map((event) => field(event, 'num_relays'))
    t.strictSame(claims, [String(mined)])
    t.equal(network.named('ClaimSettled').length, 1)
  })

  await t.test('a daemon that is killed takes its engine along, at work as it is', async (t) => {
    const pid = await enginePid(network)
    const wish = { temperature: 2, max_tokens: 200 }
    const { signal } = new AbortController()
    const relays = Array.from({ length: 6 * SLOTS }, (_, seed) =>
      network.gateway.relay(SERVICE, chatRequest('Go on!', { ...wish, seed }), signal),
    )
    const ends = Promise.allSettled(relays)
    const atWork = async () => (await network.report())?.engines[0]?.active === SLOTS
    await until(atWork, 'every slot has a relay')
    t.type(await startTime(pid), 'string', 'the engine runs')
    await network.stop('SIGKILL')
    const since = systemClock.monotonic()
    await until(async () => (await startTime(pid)) === undefined, 'the engine is gone')
    t.ok(systemClock.monotonic() - since <= 2_000, 'within two seconds')
    t.ok(
      (await ends).some(({ status }) => status === 'rejected'),
      'and was busy until then',
    )
  })
})
