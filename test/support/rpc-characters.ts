/** Nodes that are not to be relied on, for `RpcProxy.become`. */
import type { Answer, Call, Character } from './rpc-proxy.ts'

interface Status {
  readonly sync_info: Readonly<Record<string, unknown>>
}

/** Says that it is so many blocks further than it is. */
export function boasting(blocks: number): Character {
  return async (call, ask) => {
    const answer = await ask(call)
    if (call.method !== 'status') return answer
    const { sync_info, ...rest } = answer.result as Status
    const height = Number(sync_info['latest_block_height']) + blocks
    return { result: { ...rest, sync_info: { ...sync_info, latest_block_height: String(height) } } }
  }
}

/** Goes on answering with what it knew when it was first asked, and knows no later block. */
export function stuck(): Character {
  let known: Promise<Answer> | undefined
  return async (call, ask) => {
    known ??= ask({ method: 'status', params: {} })
    const status = await known
    const { sync_info } = status.result as Status
    const height = Number(sync_info['latest_block_height'])
    if (call.method === 'status') return status
    if (call.method === 'tx') return unlessLater(await ask(call), height)
    if (!/^(abci_query|block|block_results|commit|header|validators)$/.test(call.method))
      return await ask(call)
    const asked = Number(call.params['height'] ?? 0)
    if (asked > height) return tooHigh(asked, height)
    return await ask(asked > 0 ? call : at(call, height))
  }
}

function at({ method, params }: Call, height: number): Call {
  return { method, params: { ...params, height: String(height) } }
}

function tooHigh(asked: number, height: number): Answer {
  const data = `height ${asked} must be less than or equal to the current blockchain height ${height}`
  return { error: { code: -32_603, message: 'Internal error', data } }
}

function unlessLater(answer: Answer, height: number): Answer {
  const { height: included } = (answer.result ?? {}) as { height?: string }
  if (included === undefined || Number(included) <= height) return answer
  return { error: { code: -32_603, message: 'Internal error', data: 'tx not found' } }
}
