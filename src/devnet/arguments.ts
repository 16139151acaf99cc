/**
 * The arguments of JSON-RPC methods, and CometBFT's ways of refusing them.
 *
 * In a POST every 64-bit integer is a JSON string, bytes are base64 (hex for the data of a query); in a
 * URI integers are bare, strings quoted and bytes 0x-hex. Source: cometbft rpc/jsonrpc/server.
 * Tested by test/devnet/rpc.ts.
 */
import { unbase64, unhex } from '../base/bytes.ts'

/** An `error` object of JSON-RPC. */
export class RpcFault extends Error {
  readonly code: number
  readonly data: string | undefined

  constructor(code: number, message: string, data?: string) {
    super(message)
    this.code = code
    this.data = data
  }
}

export function internal(data: string): RpcFault {
  return new RpcFault(-32_603, 'Internal error', data)
}

export function invalidParams(reason: string): RpcFault {
  const data = `error converting json params to arguments: ${reason}`
  return new RpcFault(-32_602, 'Invalid params', data)
}

export class Arguments {
  readonly #values: Readonly<Record<string, unknown>>
  readonly #isUri: boolean

  constructor(values: Readonly<Record<string, unknown>>, isUri: boolean) {
    this.#values = values
    this.#isUri = isUri
  }

  raw(name: string): unknown {
    return this.#values[name]
  }

  text(name: string): string {
    const value = this.#values[name] ?? ''
    if (typeof value !== 'string') throw invalidParams('expected string')
    return this.#isUri ? value.replace(/^"(.*)"$/, '$1') : value
  }

  int64(name: string): number | undefined {
    const value = this.#values[name]
    if (value === undefined || value === null) return undefined
    if (typeof value === 'number')
      throw invalidParams(`invalid 64-bit integer encoding "${value}", expected string`)
    const text = String(value).replace(/^"(.*)"$/, '$1')
    if (/^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
    const first = text[0] ?? ''
    throw invalidParams(`invalid character '${first}' looking for beginning of value`)
  }

  bytes(name: string): Uint8Array {
    const value = this.#values[name] ?? ''
    if (typeof value !== 'string') throw invalidParams('expected base64')
    if (this.#isUri) return uriBytes(value)
    try {
      return unbase64(value)
    } catch {
      throw invalidParams('illegal base64 data at input byte 0')
    }
  }

  hex(name: string): Uint8Array {
    const value = this.#values[name] ?? ''
    if (typeof value !== 'string') throw invalidParams('expected hex')
    if (this.#isUri) return uriBytes(value)
    try {
      return unhex(value)
    } catch {
      throw invalidParams('encoding/hex: invalid byte')
    }
  }
}

function uriBytes(value: string): Uint8Array {
  try {
    return unhex(value.replace(/^0x/, ''))
  } catch {
    throw invalidParams('encoding/hex: invalid byte')
  }
}
