/** What the configuration says of models, in the running program: digests, proofs, and the owner's own port. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { tinyModelPath } from '../../src/config/root.ts'
import { readOpening, verifyOpening } from '../../src/inference/commitment.ts'
import { chatRequest, freePort, Network, readLog, SERVICE } from '../support/network.ts'

const never = new AbortController().signal
const backend = {
  ...{ kind: 'llamacpp', model: 'tiny', gpu: 'off' },
  ...{ slots: 2, contextSize: 256, maxThreads: 1 },
}
const PROMPT = 'What is 17 + 25?'

t.test('answers say what ran, can be proven, and are there for the owner, too', async (t) => {
  const port = await freePort()
  const network = await Network.open(t, {
    config: {
      services: [{ id: SERVICE, backend, commit: true }],
      local: { listen: `127.0.0.1:${port}` },
    },
  })
  await network.start()
  const ask = async (method: string, url: string, body = '') => {
    const inner = { method, url, headers: [], body: Buffer.from(body) }
    const { inner: answer } = await network.gateway.relay(SERVICE, inner, never)
    return {
      status: answer?.status,
      body: JSON.parse(Buffer.from(answer?.body ?? []).toString()),
    }
  }

  const relayed = await network.gateway.relay(
    SERVICE,
    chatRequest(PROMPT, { temperature: 0, max_tokens: 40 }),
    never,
  )
  const answer = JSON.parse(Buffer.from(relayed.inner?.body ?? []).toString())
  const { pocket: manifest } = answer
  const sum = (await readFile(`${tinyModelPath()}.sha256`, 'utf8')).slice(0, 64)

  await t.test('the digest of the weights', async (t) => {
    t.equal(manifest.model.sha256, sum)
    t.equal(manifest.model.claimed, undefined)
    t.equal(manifest.deterministic, true)
    t.match(answer.system_fingerprint, /^pk1-[0-9a-f]{12}$/)
    const shown = await ask('GET', '/pokt/manifest')
    t.equal(shown.body.system_fingerprint, answer.system_fingerprint)
    t.equal(shown.body.model.sha256, sum)
    const cached = await readFile(join(network.folder, 'data', 'digests.json'), 'utf8')
    t.match(cached, sum)
  })

  await t.test('every token of an answer opens the commitment in its manifest', async (t) => {
    const tokens: string[] = []
    // The token that ended the answer is not part of its text.
    for (let at = 0; at < answer.usage.completion_tokens - 1; at++) {
      const url = `/v1/pokt/logprobs/${answer.id}${at % 2 === 0 ? `?position=${at}` : `/${at}`}`
      const { status, body } = await ask('GET', url)
      t.equal(status, 200, url)
      t.equal(body.logprob_root, manifest.logprob_root)
      const { root, opening } = readOpening(body)
      t.ok(verifyOpening(root, opening), `token ${at}`)
      tokens.push(body.token)
    }
    t.equal(tokens.join(''), answer.choices[0].message.content)
    const beyond = await ask('GET', `/pokt/logprobs/${answer.id}/999`)
    t.match(beyond, { status: 404, body: { error: { param: 'position' } } })
    t.match(await ask('GET', '/pokt/logprobs/chatcmpl-00/0'), { status: 404 })
    t.match(await ask('GET', `/pokt/logprobs/${answer.id}?position=-1`), {
      status: 400,
      body: { error: { param: 'position' } },
    })
  })

  await t.test('the same model for the owner, without a relay', async (t) => {
    const url = `http://127.0.0.1:${port}/v1/chat/completions`
    const body = { messages: [{ role: 'user', content: PROMPT }], temperature: 0, max_tokens: 40 }
    const headers = { 'content-type': 'application/json' }
    const own = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
    t.equal(own.status, 200)
    t.equal(
      ((await own.json()) as typeof answer).choices[0].message.content,
      answer.choices[0].message.content,
    )
    const stream = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ ...body, stream: true }),
    })
    t.equal(stream.headers.get('content-type'), 'text/event-stream')
    t.match(await stream.text(), /data: \[DONE\]\n\n$/)
    const page = await fetch(url, {
      method: 'POST',
      headers: { ...headers, origin: 'https://page.example' },
      body: JSON.stringify(body),
    })
    t.equal(page.status, 403)
    await page.body?.cancel()
  })

  const report = await network.report()
  t.same(report?.problems, [])
  t.match(await readLog(network), /self-test passed/)
  t.equal(await network.stop(), 0)
})

t.test('a model that computes otherwise than its golden file says is told of', async (t) => {
  const network = await Network.open(t, {
    config: { services: [{ id: SERVICE, backend: { ...backend, model: 'weights/own.gguf' } }] },
  })
  const folder = join(network.folder, 'weights')
  await mkdir(folder)
  await copyFile(tinyModelPath(), join(folder, 'own.gguf'))
  const golden = JSON.parse(
    await readFile(tinyModelPath().replace('.gguf', '.golden.json'), 'utf8'),
  )
  golden.cases[0].logprobs[0] = -5
  await writeFile(join(folder, 'own.golden.json'), JSON.stringify(golden))
  await network.start()
  t.match((await network.report())?.problems, [
    `the model of ${SERVICE} does not compute what its golden file says (differences: 1)`,
  ])
  t.match(await readLog(network), /SELF-TEST FAILED/)
  t.ok((await network.relay(PROMPT)).verified, 'it serves all the same')
})
