/** One JSON-RPC call and its envelope. Source: cometbft rpc/jsonrpc/types. Tested by test/devnet/rpc.ts. */
import { errorText } from '../base/errors.ts'
import { Arguments, internal, RpcFault } from './arguments.ts'

export type RpcId = number | string | null

export type Call = (method: string, args: Arguments) => Promise<unknown>

/** @returns undefined for a notification, which nobody waits for */
export async function answerCall(value: unknown, call: Call): Promise<object | undefined> {
  const request = (typeof value === 'object' && value !== null ? value : {}) as {
    id?: RpcId
    params?: unknown
  }
  if (request.id === undefined) return undefined
  const { params } = request
  const values =
    typeof params === 'object' && params !== null && !Array.isArray(params)
      ? (params as Record<string, unknown>)
      : {}
  try {
    const result = await call(methodOf(value), new Arguments(values, false))
    return envelope(request.id, result)
  } catch (error) {
    return envelope(request.id, undefined, asFault(error))
  }
}

export function methodOf(value: unknown): string {
  const method = (value as { method?: unknown } | null)?.method
  return typeof method === 'string' ? method : ''
}

/** One answer: a result or an error, with the id of its request where there is one. */
export function envelope(id: RpcId | undefined, result: unknown, fault?: RpcFault): object {
  const head = { jsonrpc: '2.0', ...(id !== undefined && { id }) }
  if (fault === undefined) return { ...head, result }
  const { code, message, data } = fault
  return { ...head, error: { code, message, ...(data !== undefined && { data }) } }
}

export function asFault(error: unknown): RpcFault {
  return error instanceof RpcFault ? error : internal(errorText(error))
}
