/**
 * JSON from outside: objects told from the rest, and the body of a request.
 *
 * Tested by test/inference/api.ts.
 */
import { badRequest } from './errors.ts'
import type { JsonObject } from './request.ts'

/** Some gateways cut a body at exactly this length when they guess its type. */
const GATEWAY_CUT_BYTES = 102_400

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * The JSON object in a request's body: strict UTF-8, nothing after it.
 * @throws InferenceError BAD_REQUEST, whose message never quotes the body
 */
export function readBody(body: Uint8Array): JsonObject {
  if (body.length === 0)
    throw badRequest('body', 'The body is empty; a JSON object is expected.', 'invalid_json')
  const value = parse(body)
  if (!isObject(value)) throw badRequest('body', 'The body is not a JSON object.', 'invalid_json')
  return value
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
  } catch {
    // The engine's own message would quote the text around the fault.
    if (body.length === GATEWAY_CUT_BYTES) {
      const text = `The body breaks off at ${GATEWAY_CUT_BYTES} bytes: a gateway on the way has cut it. Send less, or name the type of the request to the gateway.`
      throw badRequest('body', text, 'invalid_json')
    }
    throw badRequest('body', 'The body is not valid JSON in UTF-8.', 'invalid_json')
  }
}
