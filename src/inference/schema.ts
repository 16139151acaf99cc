/**
 * Whether a JSON Schema of a request can be held to: of `response_format`, of the arguments of tools.
 *
 * What passes here has a grammar (grammar.ts). Which keywords are served is said by schema-read.ts.
 * Tested by test/inference/schema.ts.
 */
import { badRequest } from './errors.ts'
import { argumentsSchema, schemaGrammar } from './grammar.ts'
import { SHARED, ShapeRules } from './grammar-shape.ts'
import type { JsonObject } from './request.ts'
import { isRecord, measure } from './schema-walk.ts'

/**
 * @param param the schema's place in the body, such as `response_format.json_schema.schema`
 * @throws InferenceError BAD_REQUEST: data.param is the keyword at fault, data.reason says
 *   `unsupported_parameter` (not served) or `invalid_value` (malformed, or nothing can satisfy it)
 */
export function checkSchema(schema: unknown, param: string): asserts schema is JsonObject {
  if (!isRecord(schema)) throw badRequest(param, `'${param}' must be an object.`)
  schemaGrammar(schema, param)
}

/**
 * Arguments of a tool whose call may be forced (`tool_choice` is `required` or a name, or the tool is `strict`).
 * @throws InferenceError BAD_REQUEST as `checkSchema` does, and for what allows no object
 */
export function checkArguments(
  parameters: unknown,
  param: string,
): asserts parameters is JsonObject {
  if (!isRecord(parameters)) throw badRequest(param, `'${param}' must be an object.`)
  const shapes = new ShapeRules(param)
  shapes.rules.text(shapes.whole(argumentsSchema(parameters, param)), SHARED)
}

/**
 * Arguments of a tool that the model calls as it likes: its schema is only shown to the model, so that
 * only its size counts.
 * @throws InferenceError BAD_REQUEST
 */
export function checkShown(parameters: unknown, param: string): asserts parameters is JsonObject {
  if (!isRecord(parameters)) throw badRequest(param, `'${param}' must be an object.`)
  measure(parameters, param)
}
