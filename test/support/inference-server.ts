/** A plain HTTP server over the real Inference, as an owner's loopback port: every request is a relay's. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { InferenceBackend } from '../../src/inference/backend.ts'
import { Inference, type InferenceService } from '../../src/inference/inference.ts'

/** What is done to an answer before it is sent. */
export type Spoil = (body: string, path: string) => { status?: number; body: string } | undefined

export interface InferenceServer {
  readonly url: string
  /** Bodies that came, by path. */
  readonly received: { path: string; body: string; headers: Record<string, unknown> }[]
  /** Undefined of it: the answer is sent as it is. */
  spoil: Spoil | undefined
}

/** @param backend not started yet */
export async function serveInference(
  t: Test,
  backend: InferenceBackend,
  service: Partial<InferenceService> = {},
): Promise<InferenceServer> {
  const inference = new Inference({
    clock: systemClock,
    log: silentLog(),
    randomBytes: (length) => new Uint8Array(length).fill(7),
    services: [{ serviceId: 'llm', backend, ...service }],
  })
  t.teardown(() => inference.stop())
  await inference.start()
  const served: InferenceServer = { url: '', received: [], spoil: undefined }
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method = '', url = '', headers } = request
    const body = Buffer.concat(chunks)
    served.received.push({ path: url, body: body.toString(), headers })
    const answer = await inference.answer(
      'llm',
      { method, url, headers: [], body: new Uint8Array(body) },
      { signal: new AbortController().signal, deadline: ms(systemClock.monotonic() + 60_000) },
    )
    const text = Buffer.from(answer.body).toString()
    const spoilt = served.spoil?.(text, url)
    response.writeHead(spoilt?.status ?? answer.status, { 'content-type': answer.contentType })
    response.end(spoilt?.body ?? text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return Object.assign(served, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  })
}
