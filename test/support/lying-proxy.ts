/**
 * Stands between a supplier and an honest node, and makes it one that is away, of another chain, behind,
 * far ahead in its own words, wrong about one block, or without results of blocks. Speaks HTTP only: no
 * news.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { request as httpRequest } from 'undici'

export type Manner =
  | { readonly is: 'honest' }
  | { readonly is: 'away' }
  | { readonly is: 'foreign' }
  /** Its chain has stopped at this height. */
  | { readonly is: 'stuck'; readonly at: number }
  | { readonly is: 'boastful'; readonly by: number }
  /** It has another hash for one block. */
  | { readonly is: 'wrong'; readonly at: number }
  | { readonly is: 'forgetful' }

interface Call {
  readonly id: unknown
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

export class LyingProxy {
  readonly methods: string[] = []
  manner: Manner = { is: 'honest' }
  readonly #target: string
  readonly #server: Server

  constructor(target: string) {
    this.#target = target
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy())
    })
    this.#server.on('upgrade', (_, socket) => socket.destroy())
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.manner.is === 'away') return void request.socket.destroy()
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const call = JSON.parse(Buffer.concat(chunks).toString()) as Call
    this.methods.push(call.method)
    const answer = await this.#answer(call)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }

  async #answer(call: Call): Promise<unknown> {
    const { id, method, params } = call
    const { manner } = this
    const refuse = (data: string) => ({
      jsonrpc: '2.0',
      id,
      error: { code: -32603, message: 'Internal error', data },
    })
    const at = Number(params['height'] ?? 0)
    switch (manner.is) {
      case 'forgetful':
        if (method !== 'block_results') break
        return refuse('node is not persisting finalize block responses')
      case 'stuck':
        if (method === 'abci_query' && at <= manner.at)
          return await this.#ask({ ...call, params: { ...params, height: String(manner.at) } })
        if (at > manner.at)
          return refuse(
            `height ${at} must be less than or equal to the current blockchain height ${manner.at}`,
          )
        if (method !== 'status') break
        return withStatus(await this.#ask(call), manner.at, await this.#hash(manner.at))
      case 'foreign': {
        if (method !== 'status') return refuse('a question to a node of another chain')
        const { result, ...rest } = (await this.#ask(call)) as Answer
        return { ...rest, result: { ...result, node_info: { ...NODE, network: 'another' } } }
      }
      case 'boastful': {
        if (method !== 'status') break
        const status = (await this.#ask(call)) as Answer
        const height = Number(status.result.sync_info['latest_block_height'])
        return withStatus(status, height + manner.by, 'AB'.repeat(32))
      }
      case 'wrong': {
        const text = JSON.stringify(await this.#ask(call))
        const isOwn = method === 'status' || (method === 'commit' && at === manner.at)
        const hash = await this.#hash(manner.at).catch(() => '')
        return JSON.parse(isOwn && hash !== '' ? text.replaceAll(hash, 'AB'.repeat(32)) : text)
      }
    }
    return await this.#ask(call)
  }

  async #hash(height: number): Promise<string> {
    const call = { id: 1, method: 'commit', params: { height: String(height) } }
    const { result } = (await this.#ask(call)) as {
      result: { signed_header: { commit: { block_id: { hash: string } } } }
    }
    return result.signed_header.commit.block_id.hash
  }

  async #ask(call: Call): Promise<unknown> {
    const { body } = await httpRequest(this.#target, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', ...call }),
    })
    return await body.json()
  }
}

const NODE = { version: '0.38.22' }

interface Answer {
  readonly result: { readonly sync_info: Record<string, unknown> }
}

function withStatus(answer: unknown, height: number, hash: string): unknown {
  const { result, ...rest } = answer as Answer
  const sync_info = {
    ...result.sync_info,
    latest_block_height: String(height),
    latest_block_hash: hash,
  }
  return { ...rest, result: { ...result, sync_info } }
}
